"""A notebook as its reader runs it: by Jupyter, in a kernel of its own."""

import json
import re
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from notebooks import FOLDER

pytestmark = pytest.mark.notebook


def test_a_notebook_runs_in_a_kernel_and_shows_its_pictures(in_tmp, monkeypatch):
    import nbformat  # both come with Jupyter
    from nbclient import NotebookClient

    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel has one of its own
    notebook = nbformat.read(FOLDER / "02_sparse_codes.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(in_tmp)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [any("image/png" in output.get("data", {}) for output in cell.outputs) for cell in code]
    assert shown == [bool(re.search(r"^(plt\.)?show\(", cell.source, re.MULTILINE)) for cell in code]
    assert sum(shown) >= 5
    warned = [output.text for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert warned == []


def fetched(address):
    """What a server answers, which says its address a moment before it listens."""
    end = time.monotonic() + 60
    while True:
        try:
            with urlopen(address, timeout=60) as answer:
                return answer.read()
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > end:
                raise
            time.sleep(0.2)


def test_jupyter_started_as_the_readme_says_finds_the_notebooks_and_their_pictures():
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    command += ["--IdentityProvider.token=word"]
    root = FOLDER.parent
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as server:
        try:
            address = next(found[1] for line in server.stderr if (found := re.search(r"(http://\S+/)lab", line)))
            contents = json.loads(fetched(f"{address}api/contents/notebooks?token=word"))["content"]
            assert {path.name for path in FOLDER.glob("*.ipynb")} <= {entry["name"] for entry in contents}
            links = [
                x for path in FOLDER.glob("*.py") for x in re.findall(r"!\[[^]]*\]\((\S+)\)", path.read_text("utf-8"))
            ]
            assert links
            for place in [(FOLDER / link).resolve() for link in links]:
                assert fetched(f"{address}files/{place.relative_to(root)}?token=word") == place.read_bytes()
        finally:
            server.terminate()
