import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command import QUIET, fit, genmodels, process

from datamodules import DigitsDataModule
from lightning_genmodels import GAN, GenmodelsError, load_model
from lightning_genmodels.callbacks import LastCheckpoint

SHORT = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 3, "--trainer.check_val_every_n_epoch", 1)
RUN = Path("runs/gan_digits/0")


def config(run=RUN):
    return yaml.safe_load((run / "config.yaml").read_text())


def error_of(capsys, *arguments):
    assert genmodels(*arguments) == 2
    captured = capsys.readouterr().err.strip().splitlines()
    assert len(captured) == 1, captured
    return captured[0]


def test_fit_alone_means_the_packaged_gan_on_digits_with_other_options_kept(in_tmp, capsys):
    fit(*SHORT, "--model.adversarial_loss", "least_squares")
    found = config()
    assert found["model"]["class_path"].endswith("GAN")
    assert found["data"]["class_path"].endswith("DigitsDataModule")
    assert found["model"]["init_args"]["adversarial_loss"] == "least_squares"
    told = capsys.readouterr().out
    for path in (RUN / "checkpoints/best.ckpt", RUN / "checkpoints/last.ckpt", RUN / "pictures/samples-00000002.png"):
        assert path.is_file()
        assert str(path) in told


@pytest.mark.parametrize("form", [("--config", "autoencoder_digits"), ("--config=autoencoder_digits",),
                                  ("-c", "autoencoder_digits")])  # fmt: skip
def test_every_form_of_naming_a_config_works(in_tmp, form):
    fit(*SHORT, *form)
    assert Path("runs/autoencoder_digits/0/checkpoints/best.ckpt").is_file()


def test_of_several_configs_the_later_wins(in_tmp):
    Path("more.yaml").write_text("model:\n  class_path: GAN\n  init_args:\n    latent_dim: 6\n")
    fit(*SHORT, "--config", "gan_digits", "--config", "more.yaml")
    assert config(Path("runs/more/0"))["model"]["init_args"]["latent_dim"] == 6


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict", "sample", "configs"])
def test_every_command_has_its_help(in_tmp, capsys, command):
    with pytest.raises(SystemExit) as end:
        genmodels(command, "--help")
    assert end.value.code == 0
    assert "usage:" in capsys.readouterr().out
    assert not Path("runs").exists()


def test_print_config_shows_what_fit_alone_would_run(in_tmp, capsys):
    with pytest.raises(SystemExit) as end:
        genmodels("fit", "--print_config")
    assert end.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"].endswith("GAN")


def test_runs_are_numbered_and_named_after_the_config(in_tmp):
    Path("mine.yaml").write_text("model: GAN\ndata: DigitsDataModule\n")
    fit(*SHORT, "--config", "mine.yaml")
    fit(*SHORT, "--config", "mine.yaml")
    fit(*SHORT, "--model", "Autoencoder", "--data", "DigitsDataModule")
    assert sorted(str(p) for p in Path("runs").glob("*/*")) == [
        "runs/autoencoder_digits/0",
        "runs/mine/0",
        "runs/mine/1",
    ]


def test_an_existing_path_wins_over_a_packaged_name(in_tmp):
    Path("gan_digits").write_text(
        "model:\n  class_path: GAN\n  init_args:\n    latent_dim: 5\ndata: DigitsDataModule\n"
    )
    fit(*SHORT, "--config", "gan_digits")
    assert config()["model"]["init_args"]["latent_dim"] == 5


def test_the_seed_reaches_the_data_and_an_explicit_one_wins(in_tmp):
    fit(*SHORT, "--seed_everything", 3)
    fit(*SHORT, "--seed_everything", 3, "--data.seed", 4)
    fit(*SHORT)
    fit(*SHORT, "--seed_everything", 3, "--data.seed", 0)
    assert [config(RUN.parent / str(n))["data"]["init_args"]["seed"] for n in range(4)] == [3, 4, 0, 0]
    weights = [load_model(RUN.parent / str(n) / "checkpoints/last.ckpt").state_dict() for n in range(3)]
    assert not torch.equal(weights[0]["generator.layers.0.weight"], weights[2]["generator.layers.0.weight"])


def test_the_models_image_shape_comes_from_the_data(in_tmp):
    fit(*SHORT, "--data.image_size", 16)
    assert load_model(RUN / "checkpoints/last.ckpt").image_shape == (1, 16, 16)


def test_another_seed_leaves_the_split_of_a_trained_model_alone(in_tmp):
    fit(*SHORT, "--seed_everything", 3)
    fit("--resume", RUN, "--seed_everything", 5, "--trainer.max_epochs", 2)
    assert config()["data"]["init_args"]["seed"] == 3


def test_the_best_checkpoint_stays_the_best_after_a_resume_in_a_moved_folder(in_tmp):
    fit(*SHORT, "--checkpoint.monitor", "epoch", "--checkpoint.mode", "min")
    best = (RUN / "checkpoints/best.ckpt").read_bytes()
    Path("elsewhere").mkdir()
    RUN.rename("elsewhere/7")
    fit("--resume", "elsewhere/7", "--trainer.max_epochs", 3)
    assert Path("elsewhere/7/checkpoints/best.ckpt").read_bytes() == best
    assert torch.load("elsewhere/7/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


def test_a_users_model_and_data_without_arguments_work(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from datamodules import DigitsDataModule\nfrom lightning_genmodels import GAN\n\n\n"
        "class Mine(GAN):\n    def __init__(self):\n        super().__init__(image_shape=(1, 8, 8), latent_dim=5)\n\n\n"
        "class MyDigits(DigitsDataModule):\n    def __init__(self):\n        super().__init__(batch_size=100)\n"
    )
    done = process("fit", "--model", "mine.Mine", "--data", "mine.MyDigits", *SHORT, *QUIET, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checked = process("validate", "--ckpt_path", "runs/mine_mydigits/0/checkpoints/best.ckpt", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "val/coverage" in checked.stdout


def test_a_users_subclass_that_hands_its_arguments_on_is_loaded_again(in_tmp, monkeypatch):
    Path("mine.py").write_text(
        "from lightning_genmodels import GAN\n\n\nclass Mine(GAN):\n"
        "    def __init__(self, width: int = 32, **kwargs):\n        super().__init__(**kwargs)\n"
    )
    monkeypatch.syspath_prepend(str(in_tmp))
    fit(*SHORT, "--model", "mine.Mine", "--data", "DigitsDataModule", "--model.latent_dim", 7, "--model.width", 5)
    best = "runs/mine_digits/0/checkpoints/best.ckpt"
    assert load_model(best).latent_dim == 7
    assert genmodels("sample", "--checkpoint", best, "--output", "a.png") == 0
    assert genmodels("validate", "--ckpt_path", best) == 0


def test_a_runs_own_configuration_keeps_its_name(in_tmp):
    fit(*SHORT)
    fit("--config", RUN / "config.yaml")
    assert [p.name for p in Path("runs").iterdir()] == ["gan_digits"]


def test_a_training_without_validation_says_why_there_is_no_best(in_tmp, capsys):
    fit("--trainer.max_epochs", 1)
    told = capsys.readouterr().out
    assert "No best checkpoint: there was no validation yet; --trainer.check_val_every_n_epoch is 20." in told
    fit(
        *SHORT, "--trainer.max_steps", 2, "--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", 9
    )
    assert "there was no validation yet; --trainer.val_check_interval is 9." in capsys.readouterr().out


def test_a_training_that_has_yet_to_grow_says_why_there_is_no_best(in_tmp, capsys):
    small = ("--model.growing", "true", "--model.width", 4, "--model.latent_dim", 4, "--model.score_count", 6)
    fit("--model", "StyleGAN", "--data", "DigitsDataModule", "--data.image_size", 16, *small, *SHORT,
        "--trainer.limit_val_batches", 1)  # fmt: skip
    sentence = "No best checkpoint: there was no validation yet of images that have grown to their size."
    assert sentence in capsys.readouterr().out


def test_one_batch_is_not_all_of_them(in_tmp):
    fit(*SHORT, "--trainer.limit_val_batches", 1, "--trainer.limit_train_batches", "0.5")
    limits = yaml.safe_load((RUN / "config.yaml").read_text())["trainer"]
    found = [limits[f"limit_{stage}_batches"] for stage in ("val", "train", "test")]
    assert found == [1, 0.5, None]
    assert isinstance(found[0], int)


def test_an_image_shape_that_contradicts_the_data_is_an_error_and_leaves_no_run(in_tmp, capsys):
    message = error_of(capsys, "fit", "--model.image_shape", "[1,28,28]")
    assert "image_shape is (1, 28, 28) for the model, but DigitsDataModule gives images of (1, 8, 8)" in message
    assert not RUN.exists()


def test_resume_continues_in_the_same_folder_and_the_options_of_the_line_win(in_tmp):
    fit(*SHORT, "--trainer.log_every_n_steps", 1)
    fit("--resume", RUN, "--trainer.max_epochs", 2)
    assert [p.name for p in RUN.parent.iterdir()] == ["0"]
    rows = list(csv.DictReader((RUN / "metrics.csv").open()))
    assert [r["step"] for r in rows if r["train/generator"]] == list("012345")
    assert config()["trainer"]["max_epochs"] == 2
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--resume", "runs/none/0"), "--resume runs/none/0: there is no runs/none/0/config.yaml"),
        (("--ckpt_path", "last"), "--ckpt_path last: expected a file; to go on with a run, use --resume RUN"),
        (("--ckpt_path", "none.ckpt"), "checkpoint none.ckpt does not exist"),
        (("--config", "nothing"), "--config nothing: neither a file nor a packaged configuration; expected a path or"),
        (
            ("--config", "dcgan_mnst"),
            "dcgan_mnst: neither a file nor a packaged configuration; did you mean dcgan_mnist?",
        ),
        (
            ("--checkpoint", "a.ckpt"),
            "fit: --checkpoint is an option of sample and the other small commands; expected ",
        ),
        (("--init_from", "none.ckpt"), "checkpoint none.ckpt does not exist"),
        (("--trainer.strategy", "abacus"), "invalid strategy name: `strategy='abacus'`"),
        (("--trainer.max_epochs", "many"), "--trainer.max_epochs is many; expected a whole number"),
        (("--model.penalty_interval", "0"), "GAN: penalty_interval is 0; expected 1 or more"),
        (("--model.network", "dcgan"), "network is 'dcgan' and the images are 8x8 pixels; expected a square of 16, 28"),
        (("--data.image_size", "9"), "DigitsDataModule: image_size is 9; expected 8, 16, 28 or 32"),
        (("--model.adversarial_loss", "hing"), "--model.adversarial_loss is hing; expected minimax or non_saturating"),
        (("--data", "MNISTDataModule", "--model", "GAN", "--data.download", "false"), "MNIST/raw/train-images"),
        (("--data.batch_size", "5000"), "batch_size is 5000 on 1 process(es), but the training split has 1258 images"),
        (("--checkpoint.mode", "best"), "--checkpoint.mode is best; expected min or max"),
        (
            ("--checkpoint.monitor", "val/fid_digits", *SHORT),
            "--checkpoint.monitor is val/fid_digits, and --checkpoint.mode is missing; expected min or max",
        ),
        (
            ("--checkpoint.monitor", "val/typo", "--checkpoint.mode", "max", *SHORT),
            "--checkpoint.monitor is val/typo, which was not logged; expected one of val/coverage, val/density",
        ),
        (("--trainer.val_check_interval", "1000"), "`val_check_interval` (1000) must be less than or equal"),
        (("--checkpoint.every_n_steps", "0"), "every_n_steps is 0; expected 1 or more"),
        (("--model.learning_rate", "1e30"), "training diverged: the loss train/"),
    ],
)
def test_a_fault_of_the_input_is_one_sentence_and_status_2(monkeypatch, in_tmp, capsys, arguments, expected):
    monkeypatch.delenv("GENMODELS_DATA", raising=False)  # where MNIST may lie
    assert expected in error_of(capsys, "fit", *arguments, *QUIET)


def test_resume_without_a_last_checkpoint_is_an_error_and_not_a_fresh_start(in_tmp, capsys):
    fit(*SHORT)
    (RUN / "checkpoints/last.ckpt").unlink()
    message = error_of(capsys, "fit", "--resume", RUN)
    assert f"{RUN}/checkpoints/last.ckpt does not exist; expected a run that had written a checkpoint" in message


def test_options_that_the_weights_do_not_fit_are_an_error(in_tmp, capsys):
    fit(*SHORT)
    fits_not = "generator.layers.0.weight has the shape (256, 64) there and (256, 9) here"
    assert fits_not in error_of(capsys, "fit", "--resume", RUN, "--model.latent_dim", 9)
    best = RUN / "checkpoints/best.ckpt"
    assert fits_not in error_of(capsys, "validate", "--ckpt_path", best, "--model.latent_dim", 9)
    assert "--init_from goes with a new training" in error_of(capsys, "fit", "--resume", RUN, "--init_from", best)
    assert best.is_file()


def test_a_log_interval_of_zero_logs_nothing(in_tmp):
    fit(*SHORT, "--trainer.log_every_n_steps", 0)


def test_init_from_copies_what_matches_and_says_which(in_tmp, capsys):
    fit(*SHORT)
    capsys.readouterr()
    wider = ("--data.image_size", 16, "--trainer.max_steps", 0)
    fit("--init_from", RUN / "checkpoints/last.ckpt", *wider)
    told = capsys.readouterr().out
    copied, left = (line for line in told.splitlines() if line.startswith(("Weights copied", "Left as they were")))
    assert "generator.layers.0.weight" in copied
    assert "discriminator.features.1.weight" in left  # its width follows the image
    assert "generator.layers.0.weight" not in left
    fit("--init_from", RUN / "checkpoints/last.ckpt", "--trainer.max_steps", 1, "--model.learning_rate", "1e-12")
    before, after = (load_model(RUN.parent / n / "checkpoints/last.ckpt").state_dict() for n in ("0", "2"))
    torch.testing.assert_close(
        before["generator.layers.0.weight"], after["generator.layers.0.weight"], atol=1e-9, rtol=0
    )


def test_init_from_without_any_match_is_an_error(in_tmp, capsys):
    fit(*SHORT, "--model", "Autoencoder", "--data", "DigitsDataModule")
    path = "runs/autoencoder_digits/0/checkpoints/last.ckpt"
    assert f"--init_from {path}: none of its" in error_of(capsys, "fit", "--init_from", path, *QUIET)


def test_a_checkpoint_made_in_python_works_from_the_command_line(in_tmp, capsys):
    from toy import fit as python_fit

    model = GAN(image_shape=(1, 8, 8), latent_dim=7)
    data = DigitsDataModule()
    data.setup()
    loader = [data.to_float(b) for b in data.train_dataloader()]
    python_fit(model, torch.utils.data.DataLoader(loader, batch_size=None), limit_train_batches=2,
               callbacks=[LastCheckpoint("mine.ckpt")], enable_checkpointing=True)  # fmt: skip
    assert "there is no config.yaml of its run beside it; expected the data" in error_of(
        capsys, "validate", "--ckpt_path", "mine.ckpt")  # fmt: skip
    assert genmodels("validate", "--ckpt_path", "mine.ckpt", "--data", "DigitsDataModule", *QUIET) == 0
    assert genmodels("sample", "--checkpoint", "mine.ckpt", "--output", "grid.png") == 0
    fit("--ckpt_path", "mine.ckpt", "--data", "DigitsDataModule", "--trainer.max_epochs", 2)
    assert load_model("runs/gan_digits/0/checkpoints/last.ckpt").latent_dim == 7


def test_evaluation_needs_only_the_checkpoint_and_the_line_wins(in_tmp, capsys):
    fit(*SHORT, "--data.image_size", 16, "--model.latent_dim", 9)
    best = RUN / "checkpoints/best.ckpt"
    assert genmodels("validate", "--ckpt_path", best) == 0
    assert "val/coverage" in capsys.readouterr().out
    assert genmodels("test", "--ckpt_path", best, "--data.batch_size", 50) == 0
    assert "test/coverage" in capsys.readouterr().out
    message = error_of(capsys, "test", "--ckpt_path", best, "--data.image_size", 8)
    assert "image_shape is (1, 16, 16) for the model, but DigitsDataModule gives images of (1, 8, 8)" in message
    assert "test: expected --ckpt_path FILE" in error_of(capsys, "test")
    swapped = error_of(capsys, "test", f"--checkpoint={best}")
    assert "test: --checkpoint is an option of sample and the other small commands; expected --ckpt_path" in swapped


@pytest.mark.parametrize(("model", "bug"), [("BuggyGAN", "AttributeError"), ("BrokenGAN", "ZeroDivisionError: a bug")])
def test_a_bug_keeps_its_traceback(tmp_path, model, bug):
    done = process("fit", "--model", f"toy.{model}", "--data", "DigitsDataModule", *QUIET, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert bug in done.stderr
    assert "toy.py" in done.stderr


def test_a_users_own_class_in_the_working_directory_is_found_and_cannot_shadow_ours(tmp_path):
    (tmp_path / "mine.py").write_text("from lightning_genmodels import GAN\n\n\nclass MyGAN(GAN):\n    pass\n")
    (tmp_path / "torch.py").write_text("raise RuntimeError('shadowed')\n")
    script = Path(sys.executable).parent / "genmodels"
    command = [script, "fit", "--model", "mine.MyGAN", "--data", "DigitsDataModule", *map(str, SHORT), *QUIET]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/mygan_digits/0/checkpoints/last.ckpt").is_file()


def test_a_folder_named_as_our_data_modules_is_told_to_be_hidden_but_in_a_clone_of_ours(in_tmp, capsys):
    Path("datamodules").mkdir()
    Path("datamodules/theirs.py").write_text("")
    assert genmodels("configs") == 0
    assert "datamodules is hidden by our package" in capsys.readouterr().err
    Path("lightning_genmodels").mkdir()
    assert genmodels("configs") == 0
    assert capsys.readouterr().err == ""


def test_a_foreign_datamodules_package_is_noticed(tmp_path):
    (tmp_path / "datamodules").mkdir()
    (tmp_path / "datamodules/__init__.py").write_text("")
    done = process("fit", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert f"the package datamodules was found at {tmp_path}/datamodules/__init__.py; expected ours" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_called_datamodules_does_no_harm_and_is_noticed(in_tmp, capsys):
    (in_tmp / "datamodules").mkdir()
    assert genmodels("configs") == 0
    assert capsys.readouterr().err == ""
    (in_tmp / "datamodules/faces.py").write_text("")
    assert genmodels("configs") == 0
    note = capsys.readouterr().err
    assert note.startswith(f"genmodels: {in_tmp}/datamodules is hidden by our package of that name; ")
    assert note.count("\n") == 1


def test_a_damaged_checkpoint_is_one_sentence(in_tmp, capsys):
    Path("bad.ckpt").write_bytes(b"not a checkpoint")
    torch.save({"weights": 1}, "other.ckpt")
    Path("some").mkdir()
    assert "checkpoint some is a folder; expected a .ckpt file" in error_of(capsys, "validate", "--ckpt_path", "some")
    Path("some/last.ckpt").touch()
    assert "checkpoint some is a folder; in that folder there is last.ckpt; expected a .ckpt file" in error_of(
        capsys, "validate", "--ckpt_path", "some"
    )
    assert "checkpoint none.ckpt does not exist; in that folder there is bad.ckpt, other.ckpt; expected" in error_of(
        capsys, "validate", "--ckpt_path", "none.ckpt"
    )
    assert "bad.ckpt cannot be read as a checkpoint" in error_of(capsys, "validate", "--ckpt_path", "bad.ckpt")
    torch.save({"state_dict": {"weight": torch.randn(10_000)}}, "whole.ckpt")
    Path("cut.ckpt").write_bytes(Path("whole.ckpt").read_bytes()[:20_000])
    error = error_of(capsys, "validate", "--ckpt_path", "cut.ckpt")
    assert "cut.ckpt cannot be read as a checkpoint (" in error
    assert ". " not in error.strip()
    for start in ("t,1", "epoch,step", "s"):
        Path("text.ckpt").write_text(start)
        error = error_of(capsys, "validate", "--ckpt_path", "text.ckpt")
        assert "text.ckpt cannot be read as a checkpoint" in error
        assert ". " not in error.strip()
    assert "other.ckpt holds no state_dict" in error_of(capsys, "validate", "--ckpt_path", "other.ckpt")
    with pytest.raises(GenmodelsError, match=r"nothing\.ckpt does not exist"):
        load_model("nothing.ckpt")
