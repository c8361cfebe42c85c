"""The pages hold together: links, names, configurations, and what Sphinx makes of them."""

import re
import subprocess
import sys
import zlib
from html import unescape
from pathlib import Path

import pytest
import yaml
from command import fit, genmodels
from lightning.pytorch import LightningModule
from PIL import Image

import datamodules
import lightning_genmodels
from lightning_genmodels import callbacks, load_model, metrics
from lightning_genmodels.cli.configs import read_header
from lightning_genmodels.cli.main import COMMANDS
from lightning_genmodels.configs import packaged_configs
from notebooks import FOLDER, said

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOT_OURS = {"_build", "build", "data", "dist", "node_modules", "runs", "wandb"}
PAGES = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part in NOT_OURS or part.startswith(".") for part in path.relative_to(ROOT).parts)
]
MODELS = [n for n, c in vars(lightning_genmodels).items() if isinstance(c, type) and issubclass(c, LightningModule)]
MODEL_PAGES = sorted((DOCS / "models").glob("*.md"))
PACKAGES = {"lightning_genmodels": lightning_genmodels, "datamodules": datamodules,
            "lightning_genmodels.callbacks": callbacks, "lightning_genmodels.metrics": metrics}  # fmt: skip
PUBLIC = [f"{package}.{name}" for package, module in PACKAGES.items() for name in module.__all__]
FENCE = re.compile(r"^(`{3,})(.*?)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


def prose(path):
    """A page, or what a notebook says, without its blocks of code."""
    return FENCE.sub("", said(path.stem) if path.parent == FOLDER and path.suffix == ".py" else path.read_text())


def anchors(path):
    """What GitHub, and MyST, call the headings of a page."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{sum(f.rpartition('-')[0] == slug for f in found) + 1}")
    return found


def page_of(model):
    """The page whose title is the model."""
    (page,) = [path for path in MODEL_PAGES if path.read_text().startswith(f"# {model}\n")]
    return page


def described():
    """The names that a directive of the pages describes."""
    text = "\n".join(path.read_text() for path in PAGES)
    return re.findall(r"^\.\. (?:auto(?:class|function|exception)|py:data):: (\S+)$", text, re.MULTILINE)


def test_the_pages_are_found():
    assert {"README.md", "CHANGELOG.md", "benchmarks/README.md", "docs/models/gan.md"} <= {
        str(path.relative_to(ROOT)) for path in PAGES
    }
    assert len(MODEL_PAGES) == len(MODELS) == 12


@pytest.mark.parametrize("page", [*PAGES, *sorted(FOLDER.glob("*.py"))], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{target} does not exist"
        assert place.is_relative_to(ROOT), f"{target} lies outside"
        if anchor:
            assert anchor in anchors(place), f"{target}: no such heading; there are {', '.join(anchors(place))}"


@pytest.mark.parametrize(
    ("heading", "slug"),
    [("## Depth of NYU's rooms: tried", "depth-of-nyus-rooms-tried"), ("# `fit` and 1.5 x", "fit-and-15-x")],
)
def test_anchors_are_those_of_github(tmp_path, heading, slug):
    page = tmp_path / "page.md"
    page.write_text(f"{heading}\n\n```\n# no heading\n```\n\n{heading}\n")
    assert anchors(page) == [slug, f"{slug}-1"]


def test_pictures_are_shown_and_small():
    pictures = sorted((DOCS / "pictures").iterdir())
    shown = "\n".join(path.read_text() for path in PAGES)
    for path in pictures:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) >= 64
        assert path.stat().st_size < 120_000, path.name
        assert f"pictures/{path.name})" in shown, f"{path.name} stands in no page"
    assert len(pictures) >= len(MODELS)
    assert sum(path.stat().st_size for path in pictures) < 1_500_000


def test_every_public_name_is_described_once():
    names = described()
    assert [name for name in PUBLIC if names.count(name) != 1] == []


@pytest.mark.parametrize("package", ["losses", "networks"])
def test_every_file_of_a_package_without_public_names_is_described(package):
    text = (DOCS / f"api/{package}.md").read_text()
    files = [path.stem for path in (ROOT / "lightning_genmodels" / package).glob("[!_]*.py")]
    assert files
    assert [name for name in files if f".. automodule:: lightning_genmodels.{package}.{name}\n" not in text] == []


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_its_page(model):
    text = page_of(model).read_text()
    assert "$" in text.partition("## Loss")[2].partition("##")[0], "the loss has no formula"
    assert re.search(r"^!\[[^\]]+\]\(\.\./pictures/\w+\.png\)$", text, re.MULTILINE), "there is no picture"
    assert len(re.findall(r"^- ", text.partition("## What goes wrong easily")[2].partition("##")[0], re.MULTILINE)) >= 3
    assert f"```{{configs}} {model}\n```\n" in text
    assert re.search(r"^```bash\n(?:genmodels .*\n)+```$", text, re.MULTILINE)
    assert f".. autoclass:: lightning_genmodels.{model}\n" in text
    index = (DOCS / "index.md").read_text()
    assert f"models/{page_of(model).stem}\n" in index  # for Sphinx
    assert f"[{model}](models/{page_of(model).name})" in index  # for GitHub


def test_every_configuration_is_of_a_model_with_a_page():
    of = {name: yaml.safe_load(path.read_text())["model"]["class_path"] for name, path in packaged_configs().items()}
    assert {name for name, model in of.items() if model not in MODELS} == set()
    assert set(of.values()) == set(MODELS), "a model's table would be empty"


def test_every_command_has_its_options_in_the_page():
    text = (DOCS / "command_line.md").read_text()
    commands = [c for c in COMMANDS if c not in ("validate", "test", "predict", "data")]  # those of fit; and two
    for command in [*commands, "data check", "data preview"]:
        assert f"```{{options}} {command}\n```\n" in text
    assert all(f"genmodels {command} --ckpt_path C" in text for command in ("validate", "test", "predict"))


def test_the_citation_and_the_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version"} <= citation.keys()
    assert citation["authors"] == [{"name": "The lightning-genmodels developers"}]
    assert citation["version"] == lightning_genmodels.__version__
    assert citation["license"] in (ROOT / "pyproject.toml").read_text()
    assert f"## [{citation['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_model_that_a_page_adds_works(in_tmp):
    blocks = [body for _, kind, body in FENCE.findall((DOCS / "adding_a_model.md").read_text()) if kind == "python"]
    (code,) = [body for body in blocks if "class AbsoluteGAN(" in body]
    Path("absolute_gan.py").write_text(code)
    fit("--model", "absolute_gan.AbsoluteGAN", "--data", "DigitsDataModule", "--trainer.max_steps", 38,
        "--trainer.log_every_n_steps", 1)  # fmt: skip
    run = Path("runs/absolutegan_digits/0")
    logged = (run / "metrics.csv").read_text().partition("\n")[0].split(",")
    assert {"train/real", "train/fake", "train/generator", "val/error"} <= set(logged)
    model = load_model(run / "checkpoints/best.ckpt")
    assert model.sample(3).shape == (3, 1, 8, 8)
    assert genmodels("sample", "--checkpoint", run / "checkpoints/best.ckpt", "--output", "samples.png") == 0
    assert len(list((run / "pictures").glob("samples-*.png"))) == 2  # after each of the two epochs


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder that Sphinx writes, which may have nothing to warn of."""
    folder = tmp_path_factory.mktemp("html")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


@pytest.mark.documentation
def test_sphinx_describes_every_public_name(built):
    inventory = (built / "objects.inv").read_bytes().split(b"\n", 4)[4]
    names = [line.split(" ")[0] for line in zlib.decompress(inventory).decode().splitlines()]
    assert [name for name in PUBLIC if name not in names] == []


@pytest.mark.documentation
@pytest.mark.parametrize("name", packaged_configs())
def test_a_configuration_stands_with_its_score_in_the_page_of_its_model(built, name):
    text = packaged_configs()[name].read_text()
    page = built / "models" / page_of(yaml.safe_load(text)["model"]["class_path"]).with_suffix(".html").name
    told = re.sub(r"<[^>]+>", "", unescape(page.read_text()))
    assert f"\n{name}\n" in told
    assert read_header(text)["score"] in told


@pytest.mark.documentation
def test_docstrings_come_through_as_they_are_written(built):
    text = re.sub(r"<[^>]+>", "", (built / "api/losses.html").read_text())
    assert "1/2 E |grad_x D(x)|^2 over real images" in text
    assert "Alias for field" not in text
    assert "--checkpoint FILE" in re.sub(r"<[^>]+>", "", (built / "command_line.html").read_text())
