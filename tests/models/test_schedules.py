import math
import typing
from itertools import pairwise

import pytest
import torch
from lightning.pytorch import Callback
from toy import fit

from datamodules import DigitsDataModule
from lightning_genmodels import Autoencoder, GenmodelsError, KSparseAutoencoder
from lightning_genmodels.models.schedules import CosineScheduleName, cosine_factor, linear_count

SHAPE = (1, 8, 8)


def test_cosine_factor_rises_from_1_percent_over_5_and_falls_along_a_cosine_to_0():
    expected = {0: 0.01, 0.01: 0.2, 0.025: 0.5, 0.05: 1, 0.525: 0.5, 1: 0}
    assert {done: cosine_factor(done) for done in expected} == pytest.approx(expected, abs=1e-9)
    assert cosine_factor(0.05 + 0.95 / 4) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_cosine_factor_neither_jumps_nor_rises_again():
    values = [cosine_factor(i / 2000) for i in range(2001)]
    assert max(abs(b - a) for a, b in pairwise(values)) == pytest.approx(1 / 100)  # warming up
    assert values[100:] == sorted(values[100:], reverse=True)
    assert 0 <= min(values) < max(values) == 1


def test_cosine_factor_stays_0_past_the_end():
    assert cosine_factor(1.2) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("start", "end", "share"), [(40, 10, 0.5), (10, 40, 0.5), (7, 6, 1.0), (256, 1, 0.1)])
def test_linear_count_goes_from_start_to_end_in_whole_numbers_and_stays(start, end, share):
    counts = [linear_count(start, end, share, i / 1000) for i in range(1001)]
    assert (counts[0], counts[-1]) == (start, end)
    assert counts == sorted(counts, reverse=start > end)
    assert all(type(count) is int for count in counts)
    assert {*counts} <= {*range(min(start, end), max(start, end) + 1)}
    assert counts[round(1000 * share) :] == [end] * (1001 - round(1000 * share))
    assert linear_count(start, end, share, share / 2) == pytest.approx((start + end) / 2, abs=0.5)


def test_linear_count_over_no_time_is_the_end_from_the_first_step():
    assert linear_count(40, 10, 0.0, 0.0) == 10


# Over a training


class LearningRates(Callback):
    def __init__(self, save_at=None):
        self.seen = {}
        self.save_at = save_at

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen[trainer.global_step] = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.save_at:
            trainer.save_checkpoint("middle.ckpt")


def learning_rates(save_at=None, model=None, **options):
    callback = LearningRates(save_at)
    model = Autoencoder(SHAPE, learning_rate=0.01, schedule="cosine") if model is None else model
    data = DigitsDataModule(batch_size=128)  # 9 batches
    fit(model, data, callbacks=[callback], limit_val_batches=0, **{"max_epochs": 3, **options})
    return callback.seen


def test_the_choices_are_those_of_the_option():
    assert typing.get_type_hints(Autoencoder.__init__)["schedule"] == CosineScheduleName
    assert typing.get_args(CosineScheduleName) == ("none", "cosine")
    with pytest.raises(GenmodelsError, match="schedule is 'linear'; expected one of none, cosine"):
        Autoencoder(SHAPE, schedule="linear")


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 27),
        ({"max_epochs": -1, "max_steps": 15}, 15),
        ({"max_steps": 15}, 15),
        ({"accumulate_grad_batches": 3}, 9),
        ({"limit_train_batches": 4}, 12),
    ],
)
def test_cosine_spans_the_whole_training_however_its_end_is_given(options, steps):
    seen = learning_rates(**options)
    assert [*seen] == [*range(steps)]
    assert [*seen.values()] == pytest.approx([0.01 * cosine_factor(i / steps) for i in range(steps)], rel=1e-6)


def test_without_a_schedule_the_learning_rate_stays():
    assert {*learning_rates(model=Autoencoder(SHAPE, learning_rate=0.01)).values()} == {0.01}


def test_a_resumed_training_goes_on_along_the_same_cosine():
    whole = learning_rates(save_at=14)
    resumed = learning_rates(ckpt_path="middle.ckpt")
    assert resumed == {step: whole[step] for step in range(14, 27)}


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Autoencoder(SHAPE, schedule="cosine"), "Autoencoder: schedule is 'cosine'"),
        (lambda: KSparseAutoencoder(SHAPE, k=5), "KSparseAutoencoder: k goes from 10 to 5"),
    ],
)
def test_a_training_without_an_end_says_what_needs_one(build, reason):
    message = f"{reason}, but the training has no end; expected max_epochs or max_steps"
    loader = torch.utils.data.DataLoader([(torch.rand(4, *SHAPE),)], batch_size=None)
    with pytest.raises(GenmodelsError, match=message):
        fit(build(), loader, max_epochs=-1)
