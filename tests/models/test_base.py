import copy
import csv
import math

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from toy import BATCH_SIZE, BATCHES, Toy, fit, same_weights, toy, toy_loader

from datamodules.loader import EpochSampler, ResumableLoader
from lightning_genmodels import GenmodelsError
from lightning_genmodels.callbacks import LastCheckpoint
from lightning_genmodels.models.splitting import split_batch

STEPS = [(1, 1), (3, 1), (1, 2), (2, 3)]


class Recorder(Callback):
    def __init__(self):
        self.steps, self.validated, self.optimizer_steps = [], [], {"generator": 0, "discriminator": 0}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.steps.append(trainer.global_step)

    def on_validation_start(self, trainer, pl_module):
        self.validated.append(trainer.global_step)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.optimizer_steps[network_of(pl_module, optimizer)] += 1


def network_of(model, optimizer):
    first = optimizer.param_groups[0]["params"][0]
    return "generator" if first is next(model.generator.parameters()) else "discriminator"


@pytest.mark.parametrize(("discriminator_steps", "generator_steps"), STEPS)
def test_one_batch_is_one_global_step_for_everything_that_counts(tmp_path, discriminator_steps, generator_steps):
    recorder, bar = Recorder(), TQDMProgressBar()
    lightnings = ModelCheckpoint(tmp_path / "every", "{step}", every_n_train_steps=5, save_top_k=-1)
    saved = []

    class Saves(LastCheckpoint):
        def _save(self, trainer):
            saved.append(trainer.global_step)
            super()._save(trainer)

    trainer = fit(
        toy(discriminator_steps=discriminator_steps, generator_steps=generator_steps),
        max_epochs=-1,
        max_steps=18,
        callbacks=[recorder, bar, Saves(tmp_path / "last.ckpt", every_n_steps=4), lightnings],
        enable_progress_bar=True,
        enable_checkpointing=True,
        logger=CSVLogger(tmp_path, "", "", flush_logs_every_n_steps=1),
        log_every_n_steps=3,
        val_check_interval=6,
        val_loader=toy_loader(2),
    )
    assert recorder.steps == list(range(18))
    assert trainer.global_step == 18
    assert recorder.optimizer_steps == {
        "discriminator": 18,
        "generator": 18 // discriminator_steps * generator_steps,
    }
    assert recorder.validated == [6, 12, 18]
    assert saved == [4, 6, 8, 12, 12, 16, 18, 18]  # every fourth batch, after each validation, and the last batch
    assert sorted(p.name for p in (tmp_path / "every").iterdir()) == ["step=10.ckpt", "step=15.ckpt", "step=5.ckpt"]
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [int(r["step"]) for r in rows if r["train/discriminator"]] == [2, 5, 8, 11, 14, 17]
    assert [int(r["step"]) for r in rows if r["val/score"]] == [5, 11, 17]
    assert bar.train_progress_bar.n == 18 - BATCHES  # batches of the second epoch


@pytest.mark.parametrize(("discriminator_steps", "generator_steps"), STEPS)
def test_a_resumed_run_counts_on_and_ends_with_the_same_weights(tmp_path, discriminator_steps, generator_steps):
    options = {"discriminator_steps": discriminator_steps, "generator_steps": generator_steps, "ema_decay": 0.9}
    whole = toy(**options)
    fit(whole, max_epochs=-1, max_steps=24)
    last = LastCheckpoint(tmp_path / "half.ckpt")
    fit(toy(**options), max_epochs=-1, max_steps=12, callbacks=[last], enable_checkpointing=True)
    recorder, resumed = Recorder(), toy(seed=5, **options)
    trainer = fit(resumed, max_epochs=-1, max_steps=24, ckpt_path=tmp_path / "half.ckpt", callbacks=[recorder])
    assert recorder.steps == list(range(12, 24))
    assert trainer.global_step == 24
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def gradients(network):
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


def equal(one, other):
    return all((a is None and b is None) or torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("discriminator_steps", "generator_steps"), STEPS)
def test_each_networks_step_leaves_the_other_untouched(discriminator_steps, generator_steps):
    checked = []

    class Watched(Toy):
        def _optimize(self, optimizer, *args, **kwargs):
            moved = network_of(self, optimizer.optimizer)
            other = self.discriminator if moved == "generator" else self.generator
            others = next(o for o in self.trainer.optimizers if network_of(self, o) != moved)
            before = copy.deepcopy((list(other.parameters()), gradients(other), others.state_dict()["state"]))
            own = [p.detach().clone() for p in getattr(self, moved).parameters()]
            super()._optimize(optimizer, *args, **kwargs)
            assert equal(before[0], list(other.parameters()))
            assert equal(before[1], gradients(other))
            after = others.state_dict()["state"]
            assert all(torch.equal(v, after[i][k]) for i, s in before[2].items() for k, v in s.items())
            assert not equal(own, list(getattr(self, moved).parameters()))
            checked.append(moved)

        def discriminator_loss(self, batch, fake):
            assert fake.grad_fn is None
            assert not fake.requires_grad
            return super().discriminator_loss(batch, fake)

    torch.manual_seed(0)
    fit(Watched(discriminator_steps=discriminator_steps, generator_steps=generator_steps, r1=True))
    assert checked.count("discriminator") == BATCHES
    assert checked.count("generator") == BATCHES // discriminator_steps * generator_steps


@pytest.mark.parametrize(
    ("options", "generator_forwards", "discriminator_forwards"),
    [
        ({}, 1, 3),  # one generator forward serves both steps; real and fake, then fake again
        ({"generator_steps": 2}, 2, 4),  # fresh latents after the first
        ({"discriminator_steps": 3}, 1, 2 + 1 / 3),
        ({"r1": True}, 1, 4),
        ({"accumulate": 2}, 4, 6),
    ],
)
def test_running_statistics_move_only_in_the_forwards_that_the_losses_need(
    options, generator_forwards, discriminator_forwards
):
    model = toy(norm=True, ema_decay=0.9, **options)
    fit(model)
    assert model.generator[1].num_batches_tracked == round(generator_forwards * BATCHES)
    assert model.discriminator[1].num_batches_tracked == round(discriminator_forwards * BATCHES)
    assert model.generator_ema[1].num_batches_tracked == model.generator[1].num_batches_tracked


def test_the_average_follows_the_generator_by_its_decay():
    kept = []

    class Keep(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            kept.append([p.detach().clone() for p in pl_module.generator.parameters()])

    model = toy(ema_decay=0.7)
    average = [p.detach().clone() for p in model.generator.parameters()]
    fit(model, callbacks=[Keep()])
    for weights in kept:
        average = [0.7 * a + 0.3 * w for a, w in zip(average, weights, strict=True)]
    for expected, found in zip(average, model.generator_ema.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert not found.requires_grad


def test_each_network_has_its_own_learning_rate_and_betas():
    model = toy(learning_rate=1e-3, discriminator_learning_rate=4e-3, betas=(0.1, 0.2))
    generator, discriminator = fit(model).optimizers
    assert network_of(model, generator) == "generator"
    assert generator.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert discriminator.param_groups[0]["lr"] == pytest.approx(4e-3)
    assert generator.param_groups[0]["betas"] == discriminator.param_groups[0]["betas"] == (0.1, 0.2)


def test_linear_schedule_holds_then_falls_to_zero_and_resumes(tmp_path):
    class Rates(Recorder):
        rates: list

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            if network_of(pl_module, optimizer) == "discriminator":
                self.rates.append(optimizer.param_groups[0]["lr"])

    def rates(**options):
        recorder = Rates()
        recorder.rates = []
        model = toy(learning_rate=0.1, schedule="linear", decay_start=0.25, discriminator_steps=2)
        return fit(model, max_epochs=2, callbacks=[recorder], **options), recorder.rates

    total = 2 * BATCHES
    expected = [0.1 * min(1, (1 - step / total) / 0.75) for step in range(total)]
    _, found = rates()
    assert found == pytest.approx(expected, abs=1e-9)

    class StopAt9(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 9:
                trainer.save_checkpoint(tmp_path / "nine.ckpt", weights_only=False)

    fit(toy(learning_rate=0.1, schedule="linear", decay_start=0.25, discriminator_steps=2), max_epochs=2,
        callbacks=[StopAt9()])  # fmt: skip
    _, resumed = rates(ckpt_path=tmp_path / "nine.ckpt")
    assert resumed == pytest.approx(expected[9:], abs=1e-9)


def test_linear_schedule_without_an_end_is_an_error():
    with pytest.raises(GenmodelsError, match="schedule is 'linear', but the training has no end"):
        fit(toy(schedule="linear"), max_epochs=-1, max_time="00:00:00:05")


def half_precision(**scaler):
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", **scaler))


class Gradients(Callback):
    """The gradients that each optimizer's step applies."""

    def on_fit_start(self, trainer, pl_module):
        self.applied = {"generator": [], "discriminator": []}
        for optimizer in trainer.optimizers:
            found = self.applied[network_of(pl_module, optimizer)]
            optimizer.register_step_post_hook(
                lambda o, args, kwargs, found=found: found.append(
                    [p.grad.clone() for g in o.param_groups for p in g["params"] if p.grad is not None]
                )
            )

    def norms(self, name):
        return [math.sqrt(sum(float(g.square().sum()) for g in step)) for step in self.applied[name]]


@pytest.mark.parametrize("half", [False, True])
def test_clipping_bounds_each_networks_unscaled_gradient(half):
    free, clipped = Gradients(), Gradients()
    # Warmed up scale: the scaler's own first steps overflow in half precision and are skipped.
    plugins = {"plugins": [half_precision(init_scale=256.0)]} if half else {}
    fit(toy(learning_rate=1e-9), callbacks=[free], **plugins)
    plugins = {"plugins": [half_precision(init_scale=256.0)]} if half else {}
    fit(toy(learning_rate=1e-9, gradient_clip=0.05), callbacks=[clipped], **plugins)
    for name in ("generator", "discriminator"):
        assert len(clipped.norms(name)) == BATCHES
        for before, after in zip(free.norms(name), clipped.norms(name), strict=True):
            assert after == pytest.approx(min(before, 0.05), rel=2e-2 if half else 1e-4)
        assert max(free.norms(name)) > 0.05


@pytest.mark.parametrize("parts", [2, 3, 8, 50])
def test_accumulation_equals_the_whole_batch(parts):
    whole, split = toy(r1=True), toy(r1=True, accumulate=parts)
    fit(whole)
    fit(split)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value, rtol=0, atol=2e-6)


def test_split_batch_keeps_type_items_and_shares():
    batch = {"x": torch.arange(7), "y": [torch.arange(7) * 2]}
    parts = split_batch(batch, 3)
    assert torch.equal(torch.cat([p["x"] for p, _ in parts]), batch["x"])
    assert torch.equal(torch.cat([p["y"][0] for p, _ in parts]), batch["y"][0])
    assert [share for _, share in parts] == [len(p["x"]) / 7 for p, _ in parts]


def test_penalty_gradients_are_the_same_in_mixed_precision_as_in_float32():
    class PenaltyOnly(Toy):
        def discriminator_loss(self, batch, fake):
            return {"r1": Toy.discriminator_loss(self, batch, fake)["r1"]}

    found = {}
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        recorder = Gradients()
        fit(PenaltyOnly(r1=True, learning_rate=1e-9), callbacks=[recorder], precision=precision)
        found[precision] = recorder.applied["discriminator"][0]
    assert len(found["32-true"]) == 3  # all but the last bias, on which the gradient does not depend
    assert all(torch.equal(a, b) for a, b in zip(*found.values(), strict=True))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_one_networks_backward_and_step_come_before_the_others(precision):
    calls = []

    class Ordered(Toy):
        def backward(self, loss, *args, **kwargs):
            calls.append("backward")
            super().backward(loss, *args, **kwargs)

        def on_before_optimizer_step(self, optimizer):
            calls.append(network_of(self, optimizer))

    torch.manual_seed(0)
    options = {"precision": "bf16-mixed"} if precision == "bf16" else {"plugins": [half_precision(init_scale=256.0)]}
    fit(Ordered(), limit_train_batches=2, **options)
    assert calls == ["backward", "discriminator", "backward", "generator"] * 2


def test_a_growing_scale_does_not_shrink_either_networks_gradient():
    plain, scaled = Gradients(), Gradients()
    fit(toy(learning_rate=1e-9), callbacks=[plain], limit_train_batches=5)
    fit(toy(learning_rate=1e-9), callbacks=[scaled], limit_train_batches=5,
        plugins=[half_precision(init_scale=16.0, growth_interval=1)])  # fmt: skip
    for name in ("generator", "discriminator"):
        assert scaled.norms(name) == pytest.approx(plain.norms(name), rel=2e-2)


def test_half_precision_resumes_with_the_scale_that_it_had(tmp_path):
    def run(steps, seed=0, **options):
        model = toy(seed)
        scaler = half_precision(init_scale=4.0, growth_interval=3)
        fit(model, max_epochs=-1, max_steps=steps, plugins=[scaler], enable_checkpointing=True, **options)
        return model, scaler.scaler.get_scale()

    whole, scale = run(20)
    run(7, callbacks=[LastCheckpoint(tmp_path / "last.ckpt")])
    resumed, resumed_scale = run(20, seed=5, ckpt_path=tmp_path / "last.ckpt", loader=rest_of_epoch(7))
    assert resumed_scale == scale > 4.0
    assert same_weights(whole, resumed)


def rest_of_epoch(delivered):
    """A loader that resumes: the second pass is whole again."""
    data = toy_loader().dataset
    loader = ResumableLoader(lambda index: data[index], EpochSampler(len(data), BATCH_SIZE, shuffle=False))
    loader.load_state_dict({"epoch": 0, "delivered": delivered})
    return loader


@pytest.mark.parametrize("schedule", ["none", "linear"])
def test_options_of_a_resumed_run_win_over_its_optimizers(tmp_path, schedule):
    last = LastCheckpoint(tmp_path / "last.ckpt")
    fit(toy(learning_rate=0.1, schedule="linear"), max_steps=6, callbacks=[last], enable_checkpointing=True)
    model = toy(learning_rate=0.02, betas=(0.3, 0.4), schedule=schedule, decay_start=0.9)
    generator, _ = fit(model, max_steps=9, ckpt_path=tmp_path / "last.ckpt").optimizers
    assert generator.param_groups[0]["betas"] == (0.3, 0.4)
    assert generator.param_groups[0]["lr"] == pytest.approx(0.02)


def test_a_batch_may_hold_more_than_tensors_with_a_first_dimension():
    class Odd(Toy):
        def generate(self, batch):
            assert batch[2].ndim == 0
            return super().generate(batch)

    batch = (torch.zeros(4, 3), torch.zeros(4, 4), torch.tensor(1.0), "name")
    fit(Odd(), torch.utils.data.DataLoader([batch], batch_size=None))


def test_a_divergence_names_the_loss_the_step_and_the_last_good_checkpoint(tmp_path):
    class Diverging(Toy):
        def generator_loss(self, batch, fake):
            factor = math.nan if self.trainer.global_step == 7 else 1.0
            return {"generator": super().generator_loss(batch, fake)["generator"], "extra": fake.mean() * factor}

    torch.manual_seed(0)
    last = LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=3)
    with pytest.raises(GenmodelsError) as error:
        fit(Diverging(), callbacks=[last], enable_checkpointing=True)
    assert str(error.value) == (
        f"training diverged: the loss train/extra is nan at step 7; the last good checkpoint is {tmp_path}/last.ckpt."
    )
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6


def test_a_checkpoint_with_broken_weights_is_not_called_good(tmp_path):
    class Diverging(Toy):
        def generator_loss(self, batch, fake):
            if self.trainer.global_step == 4:
                self.discriminator[0].weight.data[0, 0] = math.inf
            return super().generator_loss(batch, fake)

    torch.manual_seed(0)
    last = LastCheckpoint(tmp_path / "last.ckpt", every_n_steps=5)
    with pytest.raises(GenmodelsError, match=r"diverged.*; no checkpoint had been written"):
        fit(Diverging(), callbacks=[last], enable_checkpointing=True)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", 0.0),
        ("betas", (0.5, 1.0)),
        ("schedule", "cosine"),
        ("decay_start", 1.0),
        ("gradient_clip", -1.0),
        ("accumulate", 0),
        ("discriminator_steps", 0),
        ("generator_steps", 0),
        ("ema_decay", 1.0),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(option, value):
    with pytest.raises(GenmodelsError, match=rf"Toy: {option} is .*; expected"):
        toy(**{option: value})


def test_the_noise_is_a_function_of_seed_batch_and_nothing_else():
    drawn = {}

    class Drawing(Toy):
        def generate(self, batch):
            drawn.setdefault(self.run, []).append(torch.randn(3, generator=self.noise))
            return super().generate(batch)

    for run, seed in (("one", 0), ("same", 0), ("other", 1)):
        torch.manual_seed(seed)
        model = Drawing()
        model.run = run
        torch.manual_seed(seed)
        fit(model, toy_loader(batch_size=BATCH_SIZE))
    one, same, other = (torch.stack(drawn[k]) for k in ("one", "same", "other"))
    assert torch.equal(one, same)
    assert len(one.unique(dim=0)) == BATCHES
    assert not torch.isin(one, other).any()


def test_a_model_whose_networks_were_not_built_and_a_loss_that_is_no_dict_are_named():
    class Unbuilt(Toy):
        def build_networks(self):
            pass

    class Plain(Toy):
        def generator_loss(self, batch, fake):
            return super().generator_loss(batch, fake)["generator"]

    with pytest.raises(GenmodelsError, match="Unbuilt has no networks; expected build_networks"):
        fit(Unbuilt(), toy_loader())
    with pytest.raises(GenmodelsError, match="Plain: a loss is a Tensor; expected a dict"):
        fit(Plain(), toy_loader())
