"""Reads the notebooks' text and runs it, cell by cell, as its reader would; needs no Jupyter.

namespace = run("02_sparse_codes")
namespace = answer("02_sparse_codes", namespace)  # the hidden answer of the exercise, in the notebook's names
"""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "notebooks"
HIDDEN = re.compile(r"<details>\s*<summary>Answer</summary>(.*?)</details>", re.DOTALL)
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def text(name):
    """The notebook as Python with `# %%` before each cell."""
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def cells(name):
    """(kind, source) of each cell of the text, as in the other half of the pair."""
    found = []
    for part in re.split(r"^# %%", text(name), flags=re.MULTILINE)[1:]:  # before the first there is the header
        mark, source = part.split("\n", 1)
        kind = {"": "code", " [markdown]": "markdown"}[mark]
        if kind == "markdown":
            source = re.sub(r"^# ?", "", source, flags=re.MULTILINE)
        found.append((kind, source.strip("\n")))
    return found


def said(name):
    """What the text says between its code."""
    return "\n\n".join(source for kind, source in cells(name) if kind == "markdown")


def notebook(name):
    """The other half of the pair, as JSON."""
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def answer_code(name):
    """The code that the exercise hides, "" where there is none."""
    hidden = "\n".join(HIDDEN.findall(cells(name)[-1][1]))
    return "\n".join(FENCE.findall(hidden))


def run(name, changed=None):
    """The notebook's names after all of its cells, in the folder the test stands in; pictures are drawn, not shown.

    Its text may have been changed.
    """
    namespace, line = {"__name__": name}, 0
    for cell in re.split(r"^(?=# %%)", changed or text(name), flags=re.MULTILINE):
        _execute("\n" * line + cell, str(FOLDER / f"{name}.py"), namespace)
        line += cell.count("\n")
    return namespace


def answer(name, namespace):
    """The names after the exercise's hidden answer, which goes on where `run` ended, as a reader's next cell would."""
    code = answer_code(name)
    assert code, f"expected a hidden answer in the last cell of {name}"
    return _execute(code, f"{name}: answer", namespace)


def _execute(code, file, namespace):
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    try:
        exec(compile(code, file, "exec"), namespace)
        for figure in map(plt.figure, plt.get_fignums()):
            figure.canvas.draw()
            # Jupyter shows a figure where its cell ends, and what a later one draws into it is not seen.
            assert all(axis.has_data() for axis in figure.axes), (
                f"a picture is empty when its cell ends: {code.strip()}"
            )
    finally:
        plt.close("all")
    return namespace
