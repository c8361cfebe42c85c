"""Every command of benchmarks/README.md runs, on little data and for a step or two; so do the pictures' script."""

import contextlib
import io
import logging
import re
import shlex
import sys
import warnings

import pytest
from command import genmodels
from documents import ROOT, pages
from made_sets import write_sets
from shortened import shorter_fit

pytestmark = pytest.mark.documentation

TABLE = pages()["benchmarks/README.md"]
CHOICES = {"ROW": ("pca", "deep", "k_sparse", "denoising", "kl_sparse", "vae"), "PROTOCOL": ("pacgan", "engan"),
           "TASK": ("denoise", "enlarge")}  # fmt: skip
# What makes a script quick, its trainings by `genmodels fit` apart.
SHORT = {
    "autoencoders.py": ("--seeds", "1", "--k", "25"),
    "celeba_gans.py": ("--variants", "conditional_gan_celeba"),
    "conditional_gan.py": ("--conditioning", "projection"),
    "data_throughput.py": ("--repetitions", "1", "--images", "100"),
    "data_wait.py": ("--batches", "1"),
    "depth.py examples": ("--batches", "1", "--seeds", "1"),
    "depth.py losses": ("--variants", "l1 + discriminator"),
    "digit_features.py": ("--epochs", "1", "--output", "digits.safetensors"),
    "digits_quality.py": ("--seeds", "1"),
    "file_throughput.py": ("--repetitions", "1"),
    "memory.py": ("--images", "200", "--epochs", "1"),
    "mixtures.py": ("--sets", "ring", "--seeds", "0"),
    "mnist_gans.py": ("--variants", "gan", "--seeds", "0"),
    "stacked_mnist.py": ("--steps", "1"),
    "stylegan.py": ("--seeds", "0"),
    "training_overhead.py": ("--steps", "1", "--warm_up", "1", "--repetitions", "1", "--only", "mlp"),
}
CONSTANTS = {"celeba_gans.py": {"EPOCHS": 1}, "stacked_mnist.py": {"COUNT": 1000}}


def listed():
    """The words of each command of the table, once for each choice that it names."""
    found = []
    for code in re.findall(r"^\| `(.+?)` \|", TABLE, flags=re.MULTILINE):
        words = shlex.split(code.removeprefix("OMP_NUM_THREADS=1 "))[1:]
        choices = next((CHOICES[word] for word in words if word in CHOICES), ("",))
        found += [[choice if word in CHOICES else word for word in words] for choice in choices]
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    write_sets(folder)
    return folder


def quick_fit(arguments):
    """`genmodels fit` for two batches."""
    return genmodels(*arguments, *shorter_fit(arguments))


def run(words, monkeypatch, beside=ROOT):
    """What the script prints, which believes that it lies in that folder."""
    name = words[0].partition("/")[2]
    source = (ROOT / words[0]).read_text()
    for constant, value in CONSTANTS.get(name, {}).items():
        source, changed = re.subn(rf"^{constant} = [\d_]+", f"{constant} = {value}", source, flags=re.MULTILINE)
        assert changed == 1
    short = next((more for command, more in SHORT.items() if " ".join((name, *words[1:])).startswith(command)), ())
    monkeypatch.setattr(sys, "argv", [*words, *short])
    monkeypatch.setattr("os.execve", lambda *_: None)  # one begins again in a process of its own
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for place in ("packaged.genmodels", "lightning_genmodels.cli.main"):  # in this order: the first is the second
        monkeypatch.setattr(place, quick_fit)
    quiet = logging.getLogger("lightning.pytorch")
    level = quiet.level
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        exec(compile(source, words[0], "exec"), {"__name__": "__main__", "__file__": str(beside / words[0])})
    quiet.setLevel(level)
    return printed.getvalue()


@pytest.mark.parametrize("words", listed(), ids=lambda words: re.sub(r"benchmarks/| --.*", "", " ".join(words)))
def test_a_benchmark_prints_its_figures(words, published, in_tmp, monkeypatch):
    meant = {"DATA": str(published), "FOLDER": "out"}
    told = run([meant.get(word, word) for word in words], monkeypatch)
    assert len(re.findall(r"(?<![\w.])-?\d+\.?\d*(?![\w.])", told)) >= 2
    assert not re.search(r"\b(nan|inf)\b", told), told


def test_the_measurement_of_lightnings_overhead_has_all_its_rows(monkeypatch):
    told = run(["benchmarks/training_overhead.py"], monkeypatch)
    rows = [line.split(" | ") for line in told.splitlines() if line.startswith("| mlp")]
    assert [row[1] for row in rows] == 2 * ["bare", "ours", "ours, with progress bar"]
    assert all(float(row[2]) > 0 for row in rows)


def test_the_pictures_of_the_documentation_are_drawn(in_tmp, monkeypatch):
    (in_tmp / "docs/pictures").mkdir(parents=True)
    told = run(["docs/make_pictures.py", "--output", "out"], monkeypatch, beside=in_tmp)
    drawn = {path.stem for path in (in_tmp / "docs/pictures").glob("*.png")}
    assert len(drawn) == told.count(".png: ") >= len(list((ROOT / "docs/models").glob("*.md")))
    assert {f"{name}.png" for name in drawn} <= {path.name for path in (ROOT / "docs/pictures").iterdir()}


def test_every_script_is_in_the_table():
    scripts = {f"benchmarks/{path.name}" for path in ROOT.glob("benchmarks/*.py")}
    assert {words[0] for words in listed()} == scripts - {"benchmarks/packaged.py"}
