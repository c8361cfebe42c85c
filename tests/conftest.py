import os

import pytest
import torch

# Nets this small are fastest on one thread; and a second one would change the order of sums.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    """Every test works in a folder of its own: a Trainer leaves files where it stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))  # never the user's own
    return tmp_path
