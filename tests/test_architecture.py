"""Who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("losses", "networks", "pictures", "metrics", "models", "callbacks", "editing", "cli", "configs", "weights")
# What each part may import of its siblings.
ALLOWED = {
    "losses": set(),
    "networks": set(),
    "pictures": set(),
    "metrics": {"networks"},
    "models": {"losses", "networks", "metrics"},
    "callbacks": {"metrics", "pictures"},
    "editing": {"metrics", "pictures", "networks"},
    "configs": set(),
    "cli": set(PARTS),
}
WITHOUT_LIGHTNING = ("losses", "networks", "pictures")
FILES = sorted([*(ROOT / "lightning_genmodels").rglob("*.py"), *(ROOT / "datamodules").rglob("*.py")])


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it leads"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path):
    part = path.relative_to(ROOT / "lightning_genmodels").parts[0]
    return part if part in PARTS else None


def test_the_files_are_found():
    assert {part_of(p) for p in FILES if "lightning_genmodels" in p.parts} >= {"losses", "models", "cli", None}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_house_rules(path):
    found = set(imports(path))
    tops = {name.split(".")[0] for name in found}
    if "datamodules" in path.relative_to(ROOT).parts:
        assert "lightning_genmodels" not in tops
        return
    part = part_of(path)
    siblings = {n.split(".")[1] for n in found if n.startswith("lightning_genmodels.") and n.split(".")[1] in PARTS}
    if part is None:
        assert siblings <= (
            {"models"} if path.name == "__init__.py" else {"cli"} if path.name == "__main__.py" else set()
        )
    else:
        assert siblings - {part} <= ALLOWED[part]
    if part != "cli":
        assert "datamodules" not in tops
    if part in WITHOUT_LIGHTNING:
        assert not tops & {"lightning", "pytorch_lightning"}
    assert not tops & {"wandb", "matplotlib", "gradio"}


def test_a_model_imports_another_only_as_its_base():
    shared = {
        "__init__",
        "augmentation",
        "base",
        "checks",
        "growing",
        "interpolation",
        "labels",
        "ranges",
        "schedules",
        "scoring",
        "splitting",
        "translation",
    }
    names = {p.stem for p in (ROOT / "lightning_genmodels/models").glob("*.py")} - shared
    for path in (ROOT / "lightning_genmodels/models").glob("*.py"):
        bases = {
            ast.unparse(b)
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.ClassDef)
            for b in n.bases
        }
        for name in imports(path):
            parts = name.split(".")
            if len(parts) == 4 and parts[1] == "models" and parts[2] in names:
                assert parts[3] in bases, f"{path}: {name}"


def test_lightning_privates_are_touched_in_one_small_file():
    own = {"_lightning.py"}
    for path in FILES:
        text = path.read_text()
        if path.name in own:
            assert len(text.splitlines()) <= 100
            continue
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
                and node.attr != "_replace"
            ):
                owner = ast.unparse(node.value)
                assert owner in ("self", "super()"), f"{path}:{node.lineno}: {owner}.{node.attr}"
        assert not any(part.startswith("_") for name in imports(path) if name.startswith("lightning.")
                       for part in name.split(".")), path  # fmt: skip


def test_importing_the_packages_is_light():
    # Where matplotlib is installed, torchmetrics imports it.
    code = (
        "import sys, torchmetrics\n"
        "theirs = {'matplotlib'} & set(sys.modules)\n"
        "import lightning_genmodels, datamodules\n"
        "heavy = {'matplotlib', 'wandb', 'sklearn', 'gradio', 'tensorboard'}\n"
        "print(sorted((heavy & set(sys.modules)) - theirs))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout
