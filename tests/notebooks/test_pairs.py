"""What every notebook has: a text and its notebook with the same cells, a French title, an exercise, a test."""

import ast
import re
from pathlib import Path

import pytest
from torch import nn

import lightning_genmodels
from notebooks import FOLDER, answer_code, cells, notebook, text

NAMES = sorted({file.stem for kind in ("*.py", "*.ipynb") for file in FOLDER.glob(kind)})
LAYERS = {name for name, value in vars(nn).items() if isinstance(value, type) and issubclass(value, nn.Module)}

every_notebook = pytest.mark.parametrize("name", NAMES)


def test_they_are_numbered_from_one():
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))


@every_notebook
def test_the_notebook_has_the_cells_of_its_text(name):
    pair = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook(name)["cells"]]
    assert pair == cells(name), f"jupytext --to ipynb --update notebooks/{name}.py"


@every_notebook
def test_the_notebook_holds_no_output_and_no_version(name):
    content = notebook(name)
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert set(content["metadata"]) == {"jupytext", "kernelspec"}  # language_info would name a version
    assert "_version" not in text(name).split("# %%")[0]


@every_notebook
def test_it_begins_with_its_number_and_both_titles(name):
    kind, source = cells(name)[0]
    assert kind == "markdown"
    assert re.match(rf"# {int(name[:2])}\. \S.*\n\n\*[^*\n]+\*(\n|$)", source)


@every_notebook
def test_each_section_asks_and_shows(name):
    texts = [source for kind, source in cells(name) if kind == "markdown"]
    sections = [line for source in texts for line in source.splitlines() if line.startswith("## ")]
    assert 3 <= len(sections) <= 5
    assert all("?" in source for source in sections)
    assert len(re.findall(r"\bshow\(", text(name))) > len(sections)  # one is in the notebook's own function


@every_notebook
def test_it_answers_in_ten_lines(name):
    """What gets ready, and functions alone, may be longer; what draws stands in cells of its own."""
    code = [source for kind, source in cells(name) if kind == "code"][1:]
    answers = [c for c in code if not all(isinstance(node, ast.FunctionDef) for node in ast.parse(c).body)]
    assert max(lines(c) for c in answers) <= 10
    assert max(map(lines, code)) <= 18


def lines(code):
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in code.splitlines())


@every_notebook
def test_it_names_the_line_that_brings_the_real_set(name):
    code = "\n".join(source for kind, source in cells(name) if kind == "code")
    assert re.search(r"^ *# .*\w+DataModule\(.*\)  # the real set", code, re.MULTILINE)


@every_notebook
def test_it_ends_with_an_exercise_and_a_hidden_answer(name):
    kind, source = cells(name)[-1]
    assert kind == "markdown"
    assert source.startswith("**Exercise.**")
    assert source.index("<details>") > 0
    assert compile(answer_code(name), name, "exec").co_names


@every_notebook
def test_it_has_a_test(name):
    test = Path(__file__).with_name(f"test_{name}.py").read_text(encoding="utf-8")
    assert "pytest.mark.notebook" in test
    assert f'"{name}"' in test


def defines_a_model(code):
    """Whether a layer of torch is used, or a class is more than one method put into a model of ours."""
    tree = ast.parse(code)
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    of_ours = [
        c for c in classes if any(isinstance(b, ast.Name) and b.id in lightning_genmodels.__all__ for b in c.bases)
    ]
    methods = [[f for f in c.body if isinstance(f, ast.FunctionDef)] for c in of_ours]
    return bool(used & (LAYERS | {"LightningModule"})) or any(len(m) != 1 for m in methods)


@every_notebook
def test_it_defines_no_model(name):
    assert not defines_a_model(text(name))
    assert not defines_a_model(answer_code(name))


@pytest.mark.parametrize(
    ("code", "defines"),
    [
        ("class A(nn.Module):\n    x = 1", True),
        ("class A(LightningModule):\n    x = 1", True),
        ("net = nn.Sequential(nn.Linear(1, 1))", True),
        ("net = Linear(1, 1)", True),
        ("class A(GAN):\n    def f(self): ...\n    def g(self): ...", True),
        ("class A(GAN):\n    def build_generator(self): ...", False),
        ("class Film(Callback):\n    def f(self): ...\n    def g(self): ...", False),
        ("model = Autoencoder((1, 8, 8), 2)\nnn.functional.relu(x)", False),
    ],
)
def test_what_counts_as_a_model(code, defines):
    assert defines_a_model(code) is defines
