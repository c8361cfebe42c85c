"""Every command that the README and the documentation show is run: shortened, on little data, and in order."""

import argparse
import contextlib
import inspect
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import QUIET, genmodels
from documents import ROOT, blocks, commands, inline_code, pages
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from made_files import save
from made_sets import MAKERS, picture, write_sets
from shortened import CONFIGS, described, shorter_fit

from lightning_genmodels.cli import edit
from lightning_genmodels.cli.configs import read_header
from lightning_genmodels.cli.main import COMMANDS
from lightning_genmodels.cli.messages import CLASSES
from lightning_genmodels.editing import attribute_logits

pytestmark = pytest.mark.documentation

PAGES = pages()
# What the README begins with; .ci/run runs these two lines as they stand there.
INSTALLING = (
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/genmodels fit",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
)
EVALUATE = [word for stage in ("val", "test", "predict") for word in (f"--trainer.limit_{stage}_batches", 1)]
OF_COMMAND = {"project": ("--steps", 2), "edit": ("--samples", 100), "path_length": ("--samples", 4)}
LIGHTNINGS = ("fit", "validate", "test", "predict")
SMALL = ("sample", "translate", "interpolate", "project", "mix", "edit", "path_length", "probe")
FITS = ("--config", "--model", "--data", "--trainer.strategy", "--trainer.precision", "--checkpoint.monitor")
FOREIGN = ("jupyter", "jupytext", "mypy", "pytest", "ruff", "sphinx-build", "tensorboard", "wandb")
WITH_TASKS = ("jupyter", "ruff", "wandb")
# What stands for what in the command of a script.
BENCHMARK = {"ROW": "pca", "PROTOCOL": "pacgan", "TASK": "denoise", "DATA": "data", "FOLDER": "out"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Little data of every kind: all published sets in one folder, and folders as one would have of one's own."""
    root = tmp_path_factory.mktemp("data")
    write_sets(root / "published")
    for name in ("PairedImagesDataModule", "DepthPairsDataModule", "ImageFolderDataModule"):
        MAKERS[name](root / name)
    return root


@pytest.fixture
def reader(in_tmp, sets, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", str(sets / "published"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(edit, "IMAGES_SHOWN", 100)
    monkeypatch.setattr(edit, "attribute_logits", centred_logits)
    monkeypatch.syspath_prepend(str(in_tmp))
    for name in ("photo.jpg", "face.jpg", "a.png", "b.png", "photos/1.jpg", "photos/2.png"):
        save(in_tmp / name, picture(len(name)))
    modules = set(sys.modules)
    yield Reader(sets)
    for name in set(sys.modules) - modules:  # a page's own files, which have the same names on another page
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == in_tmp:
            del sys.modules[name]


def centred_logits(classifier, images):
    """The classifier's, of which half are above 0: to one of two steps all samples of such a generator are alike."""
    logits = attribute_logits(classifier, images)
    return logits - logits.median(0).values


class Reader:
    """Does what a page says, one command after the other."""

    def __init__(self, sets):
        self.sets = sets
        self.trained = []  # (class of the model, run)

    def genmodels(self, words):
        """Runs `genmodels …`, shortened."""
        words = [self.meant(word, words) for word in words]
        self.train_what_is_missing(words)
        before = set(Path("runs").glob("*/*"))
        told = io.StringIO()
        status = 0
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            try:
                status = genmodels(*words, *self.shorter(words))
            except SystemExit as end:
                status = end.code
        assert status == 0, [f"status {status}", *told.getvalue().strip().splitlines()][-1]
        if words[0] == "fit":
            self.trained += [(described(words)[0], run) for run in set(Path("runs").glob("*/*")) - before]

    def shorter(self, words):
        """What makes it quick."""
        if any(word.endswith("help") for word in words) or words[0] not in (*SMALL, *LIGHTNINGS):
            return ()
        if words[0] in SMALL:
            return OF_COMMAND.get(words[0], ())
        return shorter_fit(words) if words[0] == "fit" else (*EVALUATE, *QUIET)

    def meant(self, word, words):
        """What a word stands for."""
        if word == "DATA":
            own = self.sets / described(words)[1]
            return str(own if own.is_dir() else self.sets / "published")
        if word == "C":  # the checkpoint that the page has last made; of another model nothing would match
            runs = [run for model, run in self.trained if words[0] != "fit" or model == described(words)[0]]
            assert runs, "C is the checkpoint of no command before"
            return str(checkpoint_of(runs[-1]))
        if word == "other.ckpt" and not Path(word).is_file():
            self.genmodels(["fit"])
            shutil.copy(checkpoint_of(self.trained[-1][1]), word)
        return word

    def train_what_is_missing(self, words):
        """The run of a packaged configuration that a command names and the page has not trained."""
        for word in words:
            found = re.match(r"runs/(\w+)/0\b", word)
            if found and not Path(found[0]).exists() and found[1] in CONFIGS:
                self.genmodels(["fit", "--config", found[1]])


def checkpoint_of(run):
    best = run / "checkpoints/best.ckpt"
    return best if best.is_file() else run / "checkpoints/last.ckpt"


def run_script(words, whole=True):
    """Lets the script's own parser read the options that a page gives it, all that it needs or not, and no more.

    Returns:
        What it has read.
    """
    path, *options = words
    found = []
    assert (ROOT / path).is_file(), "there is no such script"

    def read(parser, *arguments, **named):
        for action in parser._actions:
            action.required &= whole
        found.append(parse(parser, *arguments, **named))
        sys.exit(0)

    parse = argparse.ArgumentParser.parse_args
    status = "it reads no options"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as told:
        patch.setattr(argparse.ArgumentParser, "parse_args", read)
        patch.setattr(sys, "argv", [path, *(BENCHMARK.get(word, word) for word in options)])
        patch.setattr("os.execve", lambda *_: None)  # one begins again in a process of its own
        patch.syspath_prepend(str((ROOT / path).parent))
        try:
            runpy.run_path(str(ROOT / path), run_name="__main__")
        except SystemExit as end:
            status = end.code
    assert status == 0, [status, *told.getvalue().strip().splitlines()][-1]
    return found[0]


def check_pip(words):
    """Knows the extras that are to be installed."""
    for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
        declared = (ROOT / "pyproject.toml").read_text()
        for extra in extras.split(","):
            assert f"\n{extra} = [\n" in declared, f"{extra} is no extra of pyproject.toml"


def check_foreign(program, words):
    """Another project's program has the options; it may be missing, but not where all extras are installed."""
    path = shutil.which(program, path=Path(sys.executable).parent) or shutil.which(program)  # this environment's
    if path is None:
        assert not os.environ.get("CI"), f"{program} is not installed"
        return
    task = words[:1] if program in WITH_TASKS else []
    told = subprocess.run([path, *task, "--help"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, f"{program} has no {' '.join(task)}"
    for option in (word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)):
        assert re.search(rf"(^|[\s,\[]){re.escape(option)}\b", told.stdout), f"{program} has no {option}"


def follow(reader, words):
    """Runs a command, or has its options read."""
    program, rest = Path(words[0]).name, words[1:]
    if program == "genmodels":
        reader.genmodels(rest)
    elif program == "python" and rest[0].endswith(".py"):
        run_script(rest)
    elif program == "pip":
        check_pip(rest)
    elif program in FOREIGN:
        check_foreign(program, rest)
    else:
        assert words == ["python3", "-m", "venv", ".venv"], "this test does not know it"


def faults(reader, text):
    """What is wrong with each command of a page that does not work."""
    for block in blocks(text):
        if block.file:
            Path(block.file).write_text(block.code)
    found = []
    for words in commands(text):
        try:
            follow(reader, words)
        except AssertionError as error:
            found.append(f"{' '.join(words)}: {str(error).splitlines()[0]}")
    return found


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_works(name, reader):
    assert faults(reader, PAGES[name]) == []


def test_a_command_that_does_not_work_is_found(reader):
    page = """
```bash
genmodels fit --model.latent_dim 7
genmodels fit --model.latent_dims 7          # a comment, and a line
genmodels sample --checkpoint C \\
    --colour red --output a.png
genmodels sample --checkpoint C --output b.png
python benchmarks/mixtures.py --seeds 1 --flavour plain
pip install '.[typo]' && frobnicate
```
"""
    found = faults(reader, page)
    assert [fault.split(": ")[0] for fault in found] == [
        "genmodels fit --model.latent_dims 7",
        "genmodels sample --checkpoint C --colour red --output a.png",
        "python benchmarks/mixtures.py --seeds 1 --flavour plain",
        "pip install .[typo]",
        "frobnicate",
    ]
    assert "no such option of GAN; did you mean latent_dim" in found[0]
    assert Path("b.png").is_file()


def test_the_readme_begins_with_the_two_lines_that_ci_runs():
    readme = PAGES["README.md"].splitlines()
    assert [line for line in readme if line.startswith("python3 -m venv")] == list(INSTALLING)
    script = (ROOT / ".ci/run").read_text()
    for end in ("genmodels fit", "pytest"):
        assert f"grep -E '^python3 -m venv .*{end}$' README.md" in script


# The table of the README

ROW = re.compile(r"^\| \[`(\w+)`\]\((\S+)\)[^|]*\| [^|]+ \| `(\w+)` \| [^|]+ \| `([^`]+)` \| ([^|]+) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGES["README.md"])
# By the tasks of autoencoders.py and faces.py.
TRAINED = {
    "deep": "autoencoder_mnist",
    "denoise": "denoise_celeba",
    "denoising": "denoising_autoencoder_mnist",
    "enlarge": "super_resolution_celeba",
    "k_sparse": "k_sparse_autoencoder_mnist",
    "kl_sparse": "sparse_autoencoder_mnist",
    "vae": "vae_mnist",
}


def trained_by(script, options):
    """The packaged configurations that a benchmark trains, as its options are."""
    if "config" in options:
        return {options.config}
    if "variants" in options:
        kinds = [f"_{kind}" for kind in options.sets] if "sets" in options else ["", "_mnist"]
        return {variant + kind for variant in options.variants for kind in kinds}
    if task := options.__dict__.get("row", options.__dict__.get("task")):
        return {TRAINED[task]}
    text = (ROOT / script).read_text()
    return {name for name in CONFIGS if re.search(rf"\b{name}\b", text)}


def test_each_configuration_has_its_row_in_the_readme():
    assert sorted(config for _, _, config, _, _ in ROWS) == sorted(CONFIGS)


@pytest.mark.parametrize(("model", "page", "config", "command", "time"), ROWS, ids=[row[2] for row in ROWS])
def test_a_row_of_the_readme_is_of_its_configuration(model, page, config, command, time):
    text = CONFIGS[config].read_text()
    assert yaml.safe_load(text)["model"]["class_path"] == model
    assert (ROOT / page).read_text().startswith(f"# {model}\n")
    for machine in ("H200", "Xeon"):
        assert (machine in time) == (machine in read_header(text)["machine"])
    if command != "genmodels test":
        script, *words = shlex.split(command)
        script = f"benchmarks/{script}"
        assert config in trained_by(script, run_script([script, *words], whole=False))


def test_a_row_whose_command_trains_something_else_is_found():
    for command in ("depth.py losses", "mixtures.py --sets grid", "mnist_gans.py --variants wgan", "faces.py enlarge"):
        script, *words = shlex.split(f"benchmarks/{command}")
        trained = trained_by(script, run_script([script, *words], whole=False))
        assert not trained & {"depth_nyu", "pacgan_ring", "dcgan_mnist", "denoise_celeba"}


def test_the_docstrings_commands_are_found():
    for name in ("denoising_autoencoder", "super_resolution"):
        assert "genmodels fit" in PAGES[f"lightning_genmodels/models/{name}.py"]


# Options in the text


def printed_by(run, *arguments):
    told = io.StringIO()
    with contextlib.redirect_stdout(told), pytest.raises(SystemExit) as end:
        run(*arguments)
    assert end.value.code == 0
    return told.getvalue()


@pytest.fixture(scope="module")
def known_options():
    """All that there are, of every command, class and script."""
    tasks = [("data", "check"), ("data", "preview"), *((name,) for name in COMMANDS if name != "data")]
    told = "".join(printed_by(genmodels, *task, "--help") for task in tasks)
    scripts = [*sorted(ROOT.glob("benchmarks/*.py")), *sorted(ROOT.glob("docs/*.py"))]
    told += "".join(script.read_text() for script in scripts)
    options = set(re.findall(r"--[a-z][\w.-]*\w", told)) | {"--help", "--version", "--print_config"}
    for group, found in CLASSES.items():
        options |= {f"--{group}.{name}" for each in found.values() for name in inspect.signature(each).parameters}
    options |= {f"--trainer.logger.{name}" for logger in (WandbLogger, TensorBoardLogger)
                for name in inspect.signature(logger).parameters}  # fmt: skip
    return options


def stand_alone(words):
    """Whether `genmodels fit` can read these options: each has its value, and the class that it belongs to."""
    placeholder = any(re.search(r"[<…]|^(CLASS|CONFIG|NAME|VALUE|N|RUN|FILE)$|^my_|\.OPTION$", word) for word in words)
    options, values = words[::2], words[1::2]
    named = {"--config", "--model", "--data"} & set(options)
    classless = not named and any(re.match(r"--(model|data)\.", option) for option in options)
    pairs = len(options) == len(values) and all(o.startswith("--") and not v.startswith("--")
                                                for o, v in zip(options, values, strict=True))  # fmt: skip
    return pairs and not placeholder and not classless


def fault_of(code, known):
    """What is wrong with a command, or with options, in the text; None where nothing is."""
    command = re.sub(r"^([A-Z_]+=\S+ )*", "", code)
    try:
        words = shlex.split(command)
    except ValueError:  # no command: an apostrophe
        words = command.split()
    program, rest = (words[0], words[1:]) if words else ("", [])
    try:
        if program == "pip":
            check_pip(rest)
        elif program == "python" and rest and "/" in rest[0]:
            run_script(rest, whole=False)
        elif program.endswith(".py") and (ROOT / "benchmarks" / program).is_file():
            run_script([f"benchmarks/{program}", *rest], whole=False)
    except AssertionError as error:
        return f"{code}: {error}"
    if program == "genmodels":
        if rest and rest[0] not in (*COMMANDS, "COMMAND", "--help", "--version"):
            return f"{code}: no such command"
        program, rest = (rest[0], rest[1:]) if rest else ("", [])
    elif program.startswith("--"):
        program, rest = "fit", words
    elif program not in COMMANDS:
        return None
    for option in (word.split("=")[0] for word in rest if word.startswith("--")):
        if option not in known and not option.endswith(".OPTION"):
            return f"{code}: no {option}"
    if program == "fit" and rest and rest[0] in FITS and stand_alone(rest):
        told = io.StringIO()
        quiet = contextlib.redirect_stdout(io.StringIO())
        with contextlib.redirect_stderr(told), quiet, contextlib.suppress(SystemExit):  # once the options are printed
            genmodels("fit", *rest, "--print_config")
        return told.getvalue().strip() or None
    return None


@pytest.mark.parametrize("name", PAGES)
def test_every_option_in_the_text_exists(name, known_options, in_tmp):
    assert [fault for code in inline_code(PAGES[name]) if (fault := fault_of(code, known_options))] == []


def test_an_option_that_does_not_exist_is_found(known_options, in_tmp):
    for code, fault in (
        ("--trainer.max_epoch 3", "no --trainer.max_epoch"),
        ("genmodels fitt", "no such command"),
        ("genmodels sample --resise", "no --resise"),
        ("--config gan_digits --model.tied true", "--model.tied: no such option of GAN."),
        ("python benchmarks/depth.py losses --rooms 3", "unrecognized arguments: --rooms 3"),
        ("python benchmarks/typo.py", "there is no such script"),
        ("autoencoders.py deeper", "invalid choice: 'deeper'"),
        ("pip install '.[typo]'", "typo is no extra"),
    ):
        assert fault in fault_of(code, known_options)
    for code in ("--config gan_digits --model.latent_dim 3", "depth.py losses", "--data.OPTION VALUE"):
        assert fault_of(code, known_options) is None
