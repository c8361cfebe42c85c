"""What W&B's client does with a server, with none, and with a sweep; the server is one of this machine."""

import csv
import io
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import wandb
import yaml
from command import QUIET, started, wait_until
from packaging.version import Version
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb_server import KEY, WandbServer

from lightning_genmodels.cli import main
from lightning_genmodels.cli.loggers import why_unreachable

SWEEP = Path(__file__).parents[2] / "sweeps" / "gan_digits.yaml"
SHORT = [
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.limit_train_batches", "4"),
    *("--trainer.log_every_n_steps", "2", *QUIET),
]
FIT = ["fit", "--config", "gan_digits", *SHORT, "--trainer.logger", "WandbLogger", "--trainer.logger.project", "test"]
RUN = Path("runs/gan_digits/0")


def settings(folder, url):
    """Environment variables for a client that knows that server only."""
    places = {f"WANDB_{name}": str(folder) for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR")}
    server = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}
    return {**places, **server, "HOME": str(folder), "WANDB_SILENT": "true"}


def wandb_command(*words, folder, url):
    script = Path(sys.executable).parent / "wandb"
    environment = {**os.environ, **settings(folder, url), "WANDB_SILENT": "false"}
    done = subprocess.run(
        [script, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def fit(patch, folder, url, *arguments, **environment):
    """The exit status of a training, whose client begins anew and has ended when it returns."""
    patch.chdir(folder)
    for name, value in {**settings(folder, url), **environment}.items():
        patch.setenv(name, value)
    wandb.teardown()  # of another test, and with its environment
    try:
        return main([*arguments])
    finally:
        wandb.finish()
        wandb.teardown()


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A run that goes on after a restart, and once more when the server cannot be reached; then it is sent there."""
    folder = tmp_path_factory.mktemp("wandb_server")
    told = []
    with WandbServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_genmodels.cli.loggers.say", told.append)
        first = (*FIT, "--trainer.logger.log_model", "all", "--trainer.max_epochs", "1")
        assert fit(patch, folder, server.url, *first) == 0
        resume = ("fit", "--resume", str(RUN), "--trainer.max_epochs")
        assert fit(patch, folder, server.url, *resume, "2") == 0
        before = {run: list(rows) for run, rows in server.history.items()}
        assert fit(patch, folder, closed_port(), *resume, "3") == 0
        (offline,) = (folder / RUN / "wandb").glob("offline-run-*")
        sync = wandb_command("sync", str(offline.relative_to(folder)), folder=folder, url=server.url)
    return {"server": server, "folder": folder, "before": before, "told": told, "offline": offline, "sync": sync}


def read_csv(run):
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(int(row["step"]), k): float(v) for row in rows for k, v in row.items() if "/" in k and v}


def scalars(rows):
    return {
        (row["trainer/global_step"], key): value
        for row in rows
        for key, value in row.items()
        if key.startswith(("train/", "val/"))
    }


def test_a_run_goes_on_under_its_id_after_a_restart(story):
    server, before = story["server"], story["before"]
    config = yaml.safe_load((story["folder"] / RUN / "config.yaml").read_text())
    run_id = config["trainer"]["logger"]["init_args"]["id"]
    assert [*before] == [*server.history] == [run_id]
    assert server.resumed[0] == run_id
    assert [row["_step"] for row in before[run_id]] == [*range(len(before[run_id]))]
    assert {step for step, _ in scalars(before[run_id])} == {1, 3, 5, 7}


def test_the_server_is_given_checkpoints_with_their_aliases(story):
    (run_id,) = story["server"].history
    models = [artifact for artifact in story["server"].artifacts if artifact["type"] == "model"]
    assert {artifact["name"] for artifact in models} == {f"model-{run_id}"}
    assert all("latest" in artifact["aliases"] for artifact in models)
    assert any("best" in artifact["aliases"] for artifact in models)


def test_without_a_server_the_run_goes_on_offline_and_says_so(story):
    (sentence,) = story["told"]
    assert sentence.startswith("Weights & Biases cannot be reached (http://127.0.0.1:")
    assert "Connection refused" in sentence
    assert sentence.endswith(f"goes on offline; send it later with: wandb sync {RUN}/wandb/offline-run-*")
    assert story["offline"].match(f"{RUN}/wandb/offline-run-*")


def test_a_server_that_answers_can_be_reached():
    with WandbServer() as server:
        for server.status, reason in ((200, None), (401, None), (404, None), (503, "503 Service Unavailable")):
            assert why_unreachable(server.url) == reason


def test_a_server_that_does_not_answer_is_waited_for_a_while(monkeypatch):
    monkeypatch.setattr("lightning_genmodels.cli.loggers.PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in why_unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.skipif(
    Version(wandb.__version__) < Version("0.30"), reason="it takes --append for a run that is there in part"
)
def test_what_was_offline_is_sent_by_wandb_sync(story):
    (run_id,) = story["server"].history
    (before,), (rows,) = story["before"].values(), story["server"].history.values()
    assert "Finished syncing" in story["sync"]
    assert story["server"].resumed == [run_id, run_id]
    assert rows[: len(before)] == before  # and nothing was written over
    expected = read_csv(story["folder"] / RUN)
    assert scalars(rows) == pytest.approx(expected)
    assert {step for step, _ in scalars(before)} < {step for step, _ in expected}
    pictures = sorted((story["folder"] / RUN / "pictures").iterdir())
    sent = [row["samples"]["filenames"][0] for row in rows if "samples" in row]
    assert len(sent) == len(pictures) == 3
    assert story["server"].files[run_id, sent[-1]] == (story["offline"] / "files" / sent[-1]).read_bytes()
    assert story["server"].configs[run_id]["trainer"]["max_epochs"] == 3


def interrupted(process):
    """Presses Ctrl-C: whether it ends."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    return process.poll() is not None


@pytest.mark.documentation
def test_a_network_that_goes_away_stops_no_training_and_what_was_logged_is_sent_later(tmp_path):
    logged = partial(read_csv, tmp_path / RUN)
    early, last = (39, "train/generator"), (399, "val/coverage")  # of 100 epochs of 4 batches
    server = WandbServer()
    training = started(*FIT, "--trainer.max_epochs", "100", cwd=tmp_path, **settings(tmp_path, server.url))
    try:
        with server:
            wait_until((tmp_path / RUN / "metrics.csv").exists)
            wait_until(lambda: early in logged())
            training.send_signal(signal.SIGSTOP)  # while W&B's own process sends what it has
            wait_until(lambda: any(map(scalars, server.history.values())))
        training.send_signal(signal.SIGCONT)
        assert not any(last in scalars(rows) for rows in server.history.values())
        wait_until(lambda: last in logged())
        wait_until((tmp_path / RUN / "checkpoints/last.ckpt").exists)
        time.sleep(2)  # W&B is told the last row after the file is
        assert training.poll() is None  # it waits for the server
        wait_until(partial(interrupted, training))
        (online,) = (tmp_path / RUN / "wandb").glob("run-*")
        with WandbServer() as later:
            words = ("sync", "--include-online", str(online.relative_to(tmp_path)))
            wandb_command(*words, folder=tmp_path, url=later.url)
    finally:
        training.kill()
        # W&B's own process still writes when the training has ended, and tries on.
        subprocess.run(["pkill", "-KILL", "-f", f"wandb-core.*--pid {training.pid}"], check=False)
    (rows,) = later.history.values()
    sent, kept = scalars(rows), logged()
    assert {early, last} <= kept.keys()
    assert {key: sent.get(key) for key in kept} == pytest.approx(kept)


def test_without_a_key_the_way_to_one_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO())  # at a terminal W&B would ask
    with WandbServer() as server:
        assert fit(monkeypatch, tmp_path, server.url, *FIT, WANDB_API_KEY="") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("genmodels: ")]
    assert line.startswith("genmodels: WandbLogger: ")
    assert line.endswith("expected `wandb login` before, or a key in WANDB_API_KEY, that may write there; or "
                         "WANDB_MODE=offline.")  # fmt: skip
    assert not (tmp_path / RUN / "metrics.csv").exists()


CHOSEN = {
    "model.init_args.learning_rate": 0.0011078192459906997,
    "model.init_args.penalty_weight": 0.02,
    "model.init_args.betas": [0.0, 0.99],
    "model.init_args.adversarial_loss": "hinge",
}


def read_choice(config):
    return {name: config["model"]["init_args"][name.rpartition(".")[2]] for name in CHOSEN}


def test_the_command_of_the_sweep_runs_with_what_a_sweep_chooses(tmp_path, monkeypatch):
    sweep = yaml.safe_load(SWEEP.read_text())
    assert set(sweep["parameters"]) == set(CHOSEN)
    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in CHOSEN.items()}})["args"]
    words = []
    for word in create_sweep_command(sweep["command"]):
        words += arguments if word == "${args}" else [] if word == "${env}" else [word]
    assert words[0] == sweep["program"] == "genmodels"
    short = (*SHORT, "--trainer.max_epochs", "1", "--trainer.logger.mode", "disabled")
    assert fit(monkeypatch, tmp_path, closed_port(), *words[1:], *short, WANDB_RUN_ID="chosen12") == 0
    config = yaml.safe_load((tmp_path / RUN / "config.yaml").read_text())
    assert read_choice(config) == CHOSEN
    assert config["trainer"]["logger"]["init_args"]["id"] == "chosen12"  # that of the agent
    assert any(name == sweep["metric"]["name"] for _, name in read_csv(tmp_path / RUN))


@pytest.mark.documentation  # W&B's agent takes its time
def test_wandb_makes_the_sweep_and_its_agent_runs_it(tmp_path):
    short = {word.lstrip("-"): value for word, value in zip(SHORT[::2], SHORT[1::2], strict=True)}
    chosen = {name: {"value": value} for name, value in {**CHOSEN, **short, "trainer.max_epochs": 1}.items()}
    with WandbServer() as server:
        told = wandb_command("sweep", "--project", "digits", str(SWEEP), folder=tmp_path, url=server.url)
        assert "wandb agent me/digits/sweep" in told
        assert yaml.safe_load(server.sweeps[0]) == yaml.safe_load(SWEEP.read_text())
        server.commands.append({"type": "run", "run_id": "chosen12", "program": "genmodels", "args": chosen})
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", path)
            wandb_command("agent", "me/digits/sweep", "--count", "1", folder=tmp_path, url=server.url)
    config = yaml.safe_load((tmp_path / RUN / "config.yaml").read_text())
    assert read_choice(config) == CHOSEN
    assert scalars(server.history["chosen12"]) == pytest.approx(read_csv(tmp_path / RUN))
    assert server.configs["chosen12"]["learning_rate"] == CHOSEN["model.init_args.learning_rate"]
