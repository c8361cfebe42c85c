"""The project's pages: their blocks of code, and the commands that they show."""

import ast
import re
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

from notebooks import FOLDER, said

ROOT = Path(__file__).parents[2]
PROGRAMS = ("genmodels", "python", "python3", "pip", "pytest", "ruff", "mypy", "sphinx-build", "tensorboard", "wandb",
            "jupyter", "jupytext", "git", "source", "cd")  # fmt: skip
SHELLS = ("bash", "sh", "console", "shell")


class Block(NamedTuple):
    """A block of code; `file` is where its first line, or the comment before it, says that it belongs."""

    language: str
    code: str
    file: str | None


def pages():
    """Name -> text of every page that is there, what the notebooks say between their code, and docstrings' commands."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    found += [ROOT / "benchmarks/README.md", ROOT / "notebooks/README.md"]
    found += [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in found if path.is_file()}
    for path in sorted(FOLDER.glob("*.py")):
        texts[str(path.relative_to(ROOT))] = said(path.stem)
    sources = [path for package in ("lightning_genmodels", "datamodules") for path in (ROOT / package).rglob("*.py")]
    for path in sorted(sources):
        if shown := _shown(path.read_text()):
            texts[str(path.relative_to(ROOT))] = f"```bash\n{shown}```\n"
    return texts


def _shown(source):
    """The commands in the literal blocks (`::`) of a file's docstrings."""
    described = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, described)]
    found = [block for text in texts for block in re.findall(r"::\n\n((?: {4,}.*\n)+)", text + "\n")]
    return "".join(block for block in map(textwrap.dedent, found) if block.startswith("genmodels "))


def blocks(text):
    """The fenced blocks of a page."""
    return _parts(text)[0]


def inline_code(text):
    """What a page says between backticks in its prose."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", _parts(text)[1])]


def _parts(text):
    """The blocks, and the prose; a fence is closed by one that is alone on its line, as GitHub reads it."""
    found, prose, fence = [], [""], None
    for line in text.splitlines():
        opened = re.match(r"(`{3,})([^`]*)$", line)
        if fence is None and opened:
            fence, language, lines = opened[1], opened[2].strip(), []
        elif fence is not None and re.fullmatch(fence + "`*", line.strip()):
            first = re.match(r"# (\S+\.(?:py|yaml))$", lines[0]) if lines else None
            named = first or re.match(r"<!-- .* to (\S+\.(?:py|yaml)) .*-->$", prose[-1])
            found.append(Block(language, "\n".join(lines) + "\n", named[1] if named else None))
            fence = None
        elif fence is not None:
            lines.append(line)
        elif line.strip():
            prose.append(line)
    assert fence is None, f"a block of {language or 'code'} is not closed: {lines[:1]}"
    return found, "\n".join(prose)


def commands(text):
    """The words of each command that a page shows."""
    return [words for block in blocks(text) for words in commands_of(block)]


def commands_of(block):
    """The words of each command of a shell's block, those before its name (OMP_NUM_THREADS=1) left out.

    Of a block without a language the lines count that begin with a program.
    """
    lines = re.sub(r"\\\n", " ", block.code).splitlines()
    if block.language not in SHELLS:
        lines = [line for line in lines if block.language == "" and line.split(" ")[0] in PROGRAMS]
    return [words for line in lines for words in _commands_in(line)]


def _commands_in(line):
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise AssertionError(f"no shell reads this line ({error}): {line}") from error
    found, command = [], []
    for word in [*words, "&&"]:
        if word == "&&":
            found.append(command)
            command = []
        elif command or not re.match(r"[A-Z_]+=", word):
            command.append(word)
    return [command for command in found if command]
