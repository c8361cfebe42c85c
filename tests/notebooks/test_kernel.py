"""A notebook as its reader runs it: by Jupyter, in a kernel of its own."""

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
    assert shown == [False, *[True] * (len(code) - 1)]  # the first one gets ready
    warned = [output.text for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert warned == []
