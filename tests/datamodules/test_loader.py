from itertools import islice

import pytest
import torch

from datamodules import DataError
from datamodules.loader import EpochSampler, ResumableLoader


def identity(indices):
    return indices


def make_loader(num_workers=0, *, epoch=0, shuffle=True):
    sampler = EpochSampler(23, 4, shuffle=shuffle, seed=7)
    sampler.set_epoch(epoch)
    return ResumableLoader(identity, sampler, num_workers)


def order_of(seed, epoch, length=23, batch_size=4):
    sampler = EpochSampler(length, batch_size, shuffle=True, seed=seed)
    sampler.set_epoch(epoch)
    return torch.cat(list(sampler)).tolist()


def as_lists(batches):
    return [batch.tolist() for batch in batches]


def test_order_does_not_depend_on_the_epochs_seen_before():
    sampler = EpochSampler(23, 4, shuffle=True, seed=3)
    for epoch in range(5):
        sampler.set_epoch(epoch)
        list(sampler)
    assert torch.cat(list(sampler)).tolist() == order_of(seed=3, epoch=4)


def test_no_two_of_many_seeds_and_epochs_share_an_order():
    orders = {tuple(order_of(seed, epoch)) for seed in range(8) for epoch in range(8)}
    assert len(orders) == 64


def test_shuffled_epoch_has_full_batches_and_no_item_twice():
    sampler = EpochSampler(23, 4, shuffle=True)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [4] * len(sampler) == [4] * 5
    assert len(set(torch.cat(batches).tolist())) == 20


def test_no_item_is_left_out_of_every_epoch():
    assert set().union(*(order_of(0, epoch) for epoch in range(20))) == set(range(23))


def test_batches_of_two_ranks_make_the_batch_of_one_process():
    ranks = [list(EpochSampler(23, 3, shuffle=True, seed=5, rank=rank, world_size=2)) for rank in range(2)]
    together = [torch.cat(pair).tolist() for pair in zip(*ranks, strict=True)]
    assert together == as_lists(EpochSampler(23, 6, shuffle=True, seed=5))


@pytest.mark.parametrize(("length", "world_size"), [(23, 2), (23, 3), (24, 3), (1, 3)])
def test_validation_shards_hold_every_item_exactly_once(length, world_size):
    shards = [EpochSampler(length, 4, shuffle=False, rank=rank, world_size=world_size) for rank in range(world_size)]
    items = [item for shard in shards for batch in shard for item in batch.tolist()]
    assert sorted(items) == list(range(length))


@pytest.mark.parametrize("rank", range(3))
@pytest.mark.parametrize("length", [1, 23, 24])
def test_length_is_the_number_of_batches_of_a_shard(length, rank):
    sampler = EpochSampler(length, 4, shuffle=False, rank=rank, world_size=3)
    assert len(list(sampler)) == len(sampler)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("epoch", [0, 3])
def test_loaded_state_continues_in_the_middle_of_the_epoch(num_workers, epoch):
    whole = as_lists(make_loader(epoch=epoch))
    first = make_loader(num_workers, epoch=epoch)
    assert as_lists(islice(first, 2)) == whole[:2]

    second = make_loader(num_workers, epoch=epoch)
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    iterator = iter(second)
    assert next(iterator).tolist() == whole[2]
    third = make_loader(num_workers, epoch=epoch)
    third.load_state_dict(second.state_dict())
    assert as_lists(third) == whole[3:]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_epoch_after_a_continued_one_is_whole(num_workers):
    first = make_loader(num_workers)
    next(iter(first))
    second = make_loader(num_workers)
    second.load_state_dict(first.state_dict())
    list(second)
    assert as_lists(second) == as_lists(make_loader(epoch=1))


def test_second_pass_over_a_continued_epoch_is_whole():
    loader = make_loader()
    loader.load_state_dict({"epoch": 0, "delivered": 2})
    assert len(as_lists(loader)) == 3
    loader.sampler.set_epoch(0)
    assert as_lists(loader) == as_lists(make_loader())


def test_state_of_another_epoch_starts_at_the_first_batch():
    first = make_loader(epoch=4)
    next(iter(first))
    second = make_loader(epoch=5)
    second.load_state_dict(first.state_dict())
    assert as_lists(second) == as_lists(make_loader(epoch=5))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fresh_iterator_after_a_half_used_one_starts_at_the_first_batch(num_workers):
    loader = make_loader(num_workers)
    next(iter(loader))
    assert as_lists(loader) == as_lists(make_loader())


def test_second_pass_without_a_trainer_has_the_next_epochs_order():
    loader = make_loader()
    first, second = as_lists(loader), as_lists(loader)
    assert first != second == as_lists(make_loader(epoch=1))


def test_unshuffled_passes_are_in_the_sets_order():
    loader = make_loader(shuffle=False)
    for _ in range(2):
        assert torch.cat(list(loader)).tolist() == list(range(23))


@pytest.mark.parametrize("length", range(1, 14))
@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_every_process_has_as_many_batches_and_none_is_empty(length, batch_size, world_size):
    if length < world_size:  # a data module refuses it
        return
    shards = [
        list(EpochSampler(length, batch_size, shuffle=False, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    sampler = EpochSampler(length, batch_size, shuffle=False, world_size=world_size)
    assert {len(batches) for batches in shards} == {len(sampler)}
    assert all(0 < len(batch) <= batch_size + 1 for batches in shards for batch in batches)
    assert sorted(torch.cat([batch for batches in shards for batch in batches]).tolist()) == list(range(length))


def failing(index):
    if 3 in index:
        raise DataError("3.png is damaged.")
    return index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fault_of_a_file_is_its_sentence_from_a_worker_too(num_workers):
    loader = ResumableLoader(failing, EpochSampler(8, 2, shuffle=False), num_workers)
    batches = iter(loader)
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(DataError, match=r"^3\.png is damaged\.$"):
        next(batches)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loader_draws_nothing_from_the_global_generator(num_workers):
    before = torch.get_rng_state()
    list(make_loader(num_workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_global_seed_does_not_change_the_order():
    torch.manual_seed(1)
    first = as_lists(make_loader())
    torch.manual_seed(2)
    assert as_lists(make_loader()) == first
