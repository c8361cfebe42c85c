import warnings
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn

from datamodules import DigitsDataModule
from lightning_genmodels import GAN, Autoencoder, GenmodelsError
from lightning_genmodels.callbacks import CollapseWatch
from lightning_genmodels.callbacks.collapse_watch import separation, spread


class Logger:
    """Keeps the rows."""

    def __init__(self):
        self.rows = []

    def log_metrics(self, metrics, step):
        self.rows.append((step, metrics))


class Scripted(LightningModule):
    """Judges as it is told, batch by batch."""

    def __init__(self, judgements):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.judgements = judgements
        self.judged = None

    def training_step(self, batch, batch_idx):
        self.judged = self.judgements[batch_idx % len(self.judgements)]
        return self.weight.square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


REAL = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
SAME = REAL[:1].expand(8, -1, -1, -1)


def judgement(fake=REAL, real_logits=None, fake_logits=None):
    logits = torch.linspace(-1, 1, 8)
    return SimpleNamespace(
        real_logits=logits if real_logits is None else real_logits,
        fake_logits=logits if fake_logits is None else fake_logits,
        fake=fake,
    )


def run(model, watch, batches=12, data=None, **options):
    """The warnings of ours, and the trainer."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", max_steps=batches, logger=False, callbacks=[watch], **quiet, **options)
    data = data or torch.utils.data.DataLoader([(REAL, torch.zeros(8))] * 100, batch_size=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, **{"datamodule" if isinstance(data, DigitsDataModule) else "train_dataloaders": data})
    return [str(w.message) for w in caught if "CollapseWatch" in str(w.message)], trainer


def watch(**options):
    return CollapseWatch(**{"every_n_steps": 1, "warm_up": 0, "patience": 3, **options})


def test_spread_is_the_mean_distance_of_two_images():
    points = torch.tensor([[0.0, 0], [3, 0], [0, 4]]).view(3, 2, 1, 1)
    assert spread(points).item() == pytest.approx((3 + 4 + 5) / 3)
    assert spread(SAME).item() == 0
    assert spread(torch.rand(1000, 3, 2, 2)).isfinite()


def test_separation_is_the_share_of_pairs_in_the_right_order():
    assert separation(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0])).item() == pytest.approx(3 / 4)
    assert separation(torch.ones(3), torch.ones(5)).item() == 0.5
    assert separation(torch.full((3,), 1e-3), torch.zeros(2)).item() == 1  # whatever the loss's own threshold


def test_images_that_are_alike_are_noticed_after_patience_and_said_once():
    said, trainer = run(Scripted([judgement(SAME)]), watch())
    assert said == [
        "CollapseWatch: at batch 3, generated images differ by 0 of what real ones do (train/diversity; expected 0.25 "
        "or more): the generator collapses."
    ]
    assert trainer.global_step == 12


def test_stop_ends_the_training_and_says_so():
    said, trainer = run(Scripted([judgement(SAME)]), watch(stop=True))
    assert trainer.global_step == 3
    assert said[0].endswith("the generator collapses. The training is stopped.")


def test_a_discriminator_that_is_never_wrong_is_noticed():
    said, _ = run(Scripted([judgement(real_logits=torch.full((8,), 2.0))]), watch(separation_ceiling=0.999))
    assert said == [
        "CollapseWatch: at batch 3, the discriminator is right about 1 of all pairs (train/separation; expected 0.999 "
        "at most): from most losses the generator then learns nothing."
    ]
    assert not run(Scripted([judgement(real_logits=torch.full((8,), 2.0))]), watch())[0]


def test_what_is_found_now_and_then_is_not_said():
    assert not run(Scripted([judgement(SAME), judgement(SAME), judgement()]), watch())[0]


def test_nothing_is_said_while_it_warms_up_nor_between_looks():
    assert not run(Scripted([judgement(SAME)]), watch(warm_up=10))[0]
    assert not run(Scripted([judgement(SAME)]), watch(every_n_steps=5))[0]
    assert run(Scripted([judgement(SAME)]), watch(every_n_steps=4))[0][0].startswith("CollapseWatch: at batch 12,")


def logged(images, judged):
    """What is logged of the tenth batch."""
    logger, model = Logger(), Scripted([])
    trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(total_batch_idx=9), loggers=[logger],
        strategy=SimpleNamespace(reduce=lambda value, reduce_op: value),
    )  # fmt: skip
    model.judged = judged
    watch(every_n_steps=5, warm_up=10).on_train_batch_end(trainer, model, None, (images, None), 9)
    return logger.rows


def test_both_are_logged_at_every_look():
    rows = logged(REAL, judgement(0.5 * REAL, real_logits=torch.full((8,), 2.0)))
    assert rows == [(9, {"train/diversity": pytest.approx(0.5), "train/separation": 1.0})]


def test_a_batch_of_one_image_is_passed_over():
    assert logged(REAL[:1], judgement(REAL[:1], torch.zeros(1), torch.zeros(1))) == []


def test_patience_goes_on_after_a_resume():
    first, second = watch(), watch()
    run(Scripted([judgement(SAME)]), first, batches=2)
    second.load_state_dict(first.state_dict())
    assert run(Scripted([judgement(SAME)]), second, batches=2)[0][0].startswith("CollapseWatch: at batch 1,")


def test_a_training_that_was_stopped_is_stopped_again_after_a_resume():
    first, second = watch(stop=True), watch(stop=True)
    run(Scripted([judgement(SAME)]), first)
    second.load_state_dict(first.state_dict())
    assert run(Scripted([judgement(SAME)]), second)[1].global_step == 3


EAGER = partial(CollapseWatch, every_n_steps=50, warm_up=200)


def gan(**options):
    seed_everything(0, verbose=False)
    return GAN((1, 8, 8), **options)


def test_it_fires_on_a_gan_that_collapses_and_stops_it():
    """The generator takes five large steps for each tiny one of the discriminator."""
    model = gan(
        penalty="none", discriminator_learning_rate=1e-5, generator_learning_rate=5e-3, generator_steps=5
    )  # fmt: skip
    said, trainer = run(model, EAGER(stop=True), 800, DigitsDataModule(), limit_val_batches=0)
    assert len(said) == 1
    assert "the generator collapses" in said[0]
    assert trainer.global_step < 800


def test_it_fires_on_a_discriminator_that_wins_if_asked():
    """The generator all but stands still."""
    model = gan(penalty="none", generator_learning_rate=1e-6)
    said, trainer = run(model, EAGER(stop=True, diversity_floor=0, separation_ceiling=0.999), 800, DigitsDataModule(),
                        limit_val_batches=0)  # fmt: skip
    assert len(said) == 1
    assert "the discriminator is right about 1 of all pairs" in said[0]
    assert trainer.global_step < 800


def test_it_is_silent_on_a_dcgan_whose_discriminator_is_never_wrong():
    """Of the settings of `dcgan_digits`, which learns."""
    seed_everything(0, verbose=False)
    model = GAN((1, 16, 16), network="dcgan", latent_dim=64, penalty="none", learning_rate=2e-4)
    watch = CollapseWatch(every_n_steps=10, warm_up=150, stop=True)
    said, trainer = run(model, watch, 250, DigitsDataModule(image_size=16), limit_val_batches=0)
    assert said == []
    assert trainer.global_step == 250
    assert separation(model.judged.real_logits, model.judged.fake_logits) > 0.999  # or the test says nothing


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adversarial_loss": "wasserstein", "penalty": "gradient_penalty", "penalty_weight": 10.0,
         "penalty_interval": 1, "betas": (0.5, 0.9), "learning_rate": 1e-3, "discriminator_steps": 5},
    ],
    ids=["default", "wgan_gp"],
)  # fmt: skip
def test_it_is_silent_on_a_healthy_gan(options):
    said, trainer = run(gan(**options), EAGER(stop=True), 800, DigitsDataModule(), limit_val_batches=0)
    assert said == []
    assert trainer.global_step == 800


def test_packs_are_judged_together_and_their_images_are_looked_at_one_by_one():
    model = gan(packing=2)
    run(model, CollapseWatch(every_n_steps=1), 2, DigitsDataModule(batch_size=32), limit_val_batches=0)
    assert model.judged.real_logits.shape == model.judged.fake_logits.shape == (16,)
    assert model.judged.fake.shape == (32, 1, 8, 8)
    assert 0 <= model.judged.fake.min() < model.judged.fake.max() <= 1
    assert not model.judged.fake.requires_grad


def test_a_model_without_a_discriminator_is_one_sentence():
    with pytest.raises(GenmodelsError, match=r"CollapseWatch: Autoencoder is not adversarial; expected a GAN\."):
        run(Autoencoder((1, 4, 4)), watch())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps is 0; expected 1 or more"),
        ({"warm_up": -1}, "warm_up is -1; expected 0 or more"),
        ({"diversity_floor": -0.1}, "diversity_floor is -0.1; expected 0 or more"),
        ({"separation_ceiling": 1.5}, "separation_ceiling is 1.5; expected above 0, and 1 at most"),
        ({"patience": 0}, "patience is 0; expected 1 or more"),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(options, message):
    with pytest.raises(GenmodelsError, match=f"CollapseWatch: {message}"):
        CollapseWatch(**options)
