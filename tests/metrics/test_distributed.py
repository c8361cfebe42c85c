"""Scores over two processes are those over one."""

import pytest
import torch
from torch import distributed, multiprocessing
from torchmetrics import MetricCollection

from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall

NAMES = ("PrecisionRecall", "DensityCoverage")


def images():
    draw = torch.Generator().manual_seed(0)
    return torch.rand(61, 1, 4, 4, generator=draw), torch.rand(53, 1, 4, 4, generator=draw).pow(1.2)


def scores(rank, world_size):
    metrics = MetricCollection([PrecisionRecall(), DensityCoverage()], compute_groups=[list(NAMES)])
    for real, part in zip((True, False), images(), strict=True):
        metrics.update(part[rank::world_size], real=real)
    return {name: value.item() for name, value in metrics.compute().items()}


def in_one_of_two(rank, address, queue):
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    queue.put(scores(rank, 2))
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_with_uneven_shares_score_as_one(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    processes = [
        context.Process(target=in_one_of_two, args=(rank, f"file://{tmp_path}/meet", queue)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert found[0] == pytest.approx(scores(0, 1), abs=1e-6)
    assert found[0] == found[1]
    assert 0 < found[0]["precision"] < 1
