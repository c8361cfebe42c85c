"""Runs a function in two processes that know of each other, without a Trainer."""

from torch import distributed, multiprocessing


def _one_of_two(function, rank, address, queue):
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    queue.put(function(rank, 2))
    distributed.barrier()
    distributed.destroy_process_group()


def two_processes(function, tmp_path):
    """What `function(rank, world_size)` returns in each, whoever is first."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    address = f"file://{tmp_path}/meet"
    processes = [context.Process(target=_one_of_two, args=(function, rank, address, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return found
