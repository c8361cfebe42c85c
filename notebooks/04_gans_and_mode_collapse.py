# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. GANs and mode collapse
#
# *Réseaux antagonistes génératifs et effondrement des modes*
#
# A decoder draws what a code says. Can a network draw a digit that nobody has asked for, from random numbers alone?
# Squared error cannot teach it that; a second network can, and it brings an illness of its own, the collapse of modes.
# Here it is seen, measured and cured.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Image
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import LambdaCallback
from torch.nn import functional

import datamodules
from lightning_genmodels import GAN
from lightning_genmodels.callbacks import CollapseWatch
from lightning_genmodels.callbacks.collapse_watch import spread
from lightning_genmodels.metrics import DensityCoverage, ModeCoverage, PrecisionRecall
from lightning_genmodels.pictures import image_grid, save_animation

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
quiet |= {"accelerator": "cpu", "limit_val_batches": 0}  # networks so small are no faster on a GPU


def train(data, steps, callbacks=(), **options):
    """A GAN with these options, trained for so many batches."""
    seed_everything(0, verbose=False)
    model = GAN(data.image_shape, **options)
    Trainer(max_steps=steps, callbacks=list(callbacks), **quiet).fit(model, data)
    return model.eval()


def show(**pictures):
    _, axes = plt.subplots(1, len(pictures), figsize=(3.6 * len(pictures), 3.8), squeeze=False)
    for axis, (title, picture) in zip(axes[0], pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title)
        axis.axis("off")
    plt.show()


# %% [markdown]
# ## What does a generator draw that squared error trains?
#
# Each digit gets a random code, from which the generator is to draw it: a plain regression. The codes are drawn anew
# for each batch and tell nothing about the digits.

# %%
data = datamodules.DigitsDataModule()
# data = datamodules.MNISTDataModule()  # the real set
data.prepare_data()
data.setup()
real = torch.cat([data.to_float(batch).image for batch in data.train_dataloader()])

# %%
seed_everything(0, verbose=False)
generator = GAN(data.image_shape).generator
optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3)
for _ in range(400):
    digits, codes = real[torch.randint(len(real), (64,))], torch.randn(64, 64)
    loss = functional.mse_loss(generator(codes), 2 * digits - 1)  # a generator draws in [-1, 1]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %%
with torch.no_grad():
    regressed = generator.eval()(torch.randn(1000, 64)) / 2 + 0.5
mean = real.mean(0, keepdim=True)
show(digits=image_grid(real[:64]), regressed=image_grid(regressed[:64]), mean=image_grid(mean))

# %% [markdown]
# One and the same grey shape, whatever the code: the mean digit. As long as the code does not tell which digit is
# meant, no other picture has a smaller squared error. To draw *a* digit takes a loss that does not ask for *this* one.

# %% [markdown]
# ## What does a discriminator change?
#
# The same generator and the same random codes, but the loss is what a second network says, which learns to tell digits
# from drawings. *Precision* is the share of drawings that lie among the digits, *coverage* the share of digits that
# have a drawing near them, *variety* how far two drawings are from one another, beside two digits.

# %%
drawn = train(data, 2500).sample(1000)
scores = {}
for name, images in {"regressed": regressed, "GAN": drawn}.items():
    scores[name] = {"variety": (spread(images) / spread(real)).item()}
    for metric in (PrecisionRecall(k=5), DensityCoverage(k=5)):
        metric.update(real[:1000], real=True)
        metric.update(images, real=False)
        scores[name] |= {key: value.item() for key, value in metric.compute().items()}
    print(f"{name:>9}: " + ", ".join(f"{key} {scores[name][key]:.2f}" for key in ("precision", "coverage", "variety")))
show(regressed=image_grid(regressed[:64]), GAN=image_grid(drawn[:64]))

# %% [markdown]
# Digits, and different ones: the discriminator is content with any of them, so nothing pulls the generator to their
# mean. Precision would not have noticed, for the mean lies near many digits. Coverage and variety do.

# %% [markdown]
# ## How does a GAN collapse?
#
# But neither does anything make the generator draw *all* digits. To see what comes of that, take data whose modes can
# be counted: eight Gaussians on a ring. The film shows real points (black), samples (green) and the field of the
# discriminator, red where it takes a point for real and blue where it does not.

# %%
ring = datamodules.RingDataModule()
ring.setup()
points = ring.to_points(next(iter(ring.val_dataloader())).image)
line = torch.linspace(-ring.extent, ring.extent, 64)
places = torch.cartesian_prod(line, line).flip(1)  # row by row, from below


# %%
def frame(model, title):
    with torch.no_grad():
        field = model.discriminator(2 * ring.to_images(places) - 1).sigmoid().view(64, 64)
    figure, axis = plt.subplots(figsize=(3, 3.2))
    axis.imshow(field, origin="lower", extent=[-ring.extent, ring.extent] * 2, cmap="coolwarm", vmin=0, vmax=1)
    axis.scatter(*points.T, s=3, color="black")
    axis.scatter(*ring.to_points(model.sample(200)).T, s=3, color="lime")
    axis.set_title(title, fontsize=9)
    axis.axis("off")
    figure.tight_layout(pad=0.3)
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    plt.close(figure)
    return picture


# %%
def study(*callbacks, film=False, **options):
    """Trains on the ring; gives the model and, of each 50th batch, a frame, the modes' shares and the variety."""
    frames, shares, variety = [], [], []

    def look(trainer, model, outputs, batch, batch_idx):
        if trainer.global_step % 50 == 0:
            mode = torch.cdist(ring.to_points(model.sample(1000)), ring.centres).argmin(1)  # the nearest of each
            shares.append(mode.bincount(minlength=8) / 1000)
            variety.append((spread(model.judged.fake) / spread(batch[0])).item())
            if film:
                frames.append(frame(model, f"batch {trainer.global_step}"))

    options = {"penalty": "none", "generator_batch_norm": False, "ema_decay": 0.0} | options
    model = train(ring, 2000, [LambdaCallback(on_train_batch_end=look), *callbacks], **options)
    return model, frames, torch.stack(shares), variety


# %%
watch = CollapseWatch(every_n_steps=50, diversity_floor=0.5)  # for a section below
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model, frames, shares, variety = study(watch, film=True)
runs = {"plain": (model, shares, variety)}

# %%
save_animation(frames, "ring.gif", seconds=0.2)
chosen = frames[8:30:3]
plt.figure(figsize=(12, 6.5))
plt.imshow(np.concatenate([np.concatenate(chosen[:4], 1), np.concatenate(chosen[4:], 1)]))
plt.axis("off")
plt.show()
Image("ring.gif")


# %%
def draw_shares(axis, shares, title):
    axis.imshow(shares.T, aspect="auto", extent=[0, 2000, 7.5, -0.5], cmap="Greens", vmin=0, vmax=1)
    axis.set(title=title, xlabel="batch", ylabel="mode")


draw_shares(plt.figure(figsize=(10, 2.5), layout="tight").gca(), shares, "share of the samples nearest to each mode")
plt.show()
largest = shares.max(1).values.median().item()
hops = (shares.argmax(1).diff() != 0).sum().item()
print(
    f"to one mode {largest:.0%} of the samples are nearest, and it is another one at {hops} of {len(shares) - 1} looks"
)

# %% [markdown]
# All samples are one heap, near one mode. There the discriminator learns to say no: the blue comes over them, and
# they leave together for a side that is still red, where the same happens. They hop around the ring and never settle.
# The discriminator judges points one by one: that it has been shown the same one a hundred times it cannot see.

# %% [markdown]
# ## Does one notice without knowing the modes?
#
# Of digits or faces one has no centres to count with. `CollapseWatch` measures the variety above while training, and
# warns when it stays below a floor. What did it say?

# %%
warned = [str(warning.message) for warning in caught if "CollapseWatch" in str(warning.message)]
print(*warned, sep="\n")
plt.figure(figsize=(8, 3), layout="tight")
plt.plot(range(50, 2001, 50), variety)
plt.axhline(watch.diversity_floor, color="grey", linestyle=":")
plt.gca().set(xlabel="batch", ylabel="variety", ylim=(0, 1))
plt.show()

# %% [markdown]
# It warns as soon as it may, after 500 batches and five looks: samples differ by a fraction of what real points do.
# What it cannot see is a generator that keeps four modes of eight, whose samples differ as much as real points.

# %% [markdown]
# ## What cures it?
#
# Two cures, one change each. *Packing* shows the discriminator two samples at a time, so that two alike are a sign of
# a drawing (Lin et al. 2018). A *penalty* keeps the slope of its field near 1 between real points and samples
# (Gulrajani et al. 2017): no side is all red or all blue, and samples are told the way to the nearest mode.

# %%
for name, options in {
    "packing": {"packing": 2},
    "penalty": {"penalty": "gradient_penalty", "penalty_weight": 0.1, "penalty_interval": 4},
}.items():
    model, _, shares, variety = study(**options)
    runs[name] = (model, shares, variety)

# %%
found, samples = {}, {}
for name, (model, shares, variety) in runs.items():
    samples[name] = model.sample(2500)
    metric = ModeCoverage("centres", ring.centres, ring.sigma, ring.extent)
    metric.update(samples[name])
    found[name] = {key: value.item() for key, value in metric.compute().items()}
    found[name] |= {"largest": shares[10:].max(1).values.median().item(), "variety": variety[-1]}
    keys = ("modes", "high_quality", "largest", "variety")
    print(f"{name:>8}: " + ", ".join(f"{key} {found[name][key]:.2f}" for key in keys))

# %%
figure, axes = plt.subplots(2, 3, figsize=(13, 6.5), height_ratios=(1, 3))
for (above, below), (name, (_, shares, _)) in zip(axes.T, runs.items(), strict=True):
    draw_shares(above, shares, name)
    below.scatter(*ring.to_points(samples[name]).T, s=2, color="green")
    below.scatter(*ring.centres.T, marker="+", color="black")
    below.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
plt.tight_layout()
plt.show()

# %% [markdown]
# Either way the samples spread over the ring within some hundred batches, about an eighth of them at each mode, and
# stay. *Modes* counts those with a sample within three standard deviations, *high quality* is the share of such
# samples: the plain GAN has next to none. The cured ones reach all modes, or nearly, and are blurred still. That takes
# time: after 20,000 batches `genmodels fit --config pacgan_ring` has .93 of its samples in the modes.

# %% [markdown]
# **Exercise.** Put packing and a penalty together in the manner of `pacgan_ring`: batches of 256, a learning rate that
# decays, and the penalty `r1_r2`, which keeps the slope small at real points and at samples, and so lets the field come
# to rest there; its weight is 1e-4, at every fourth batch. What share of the samples is of high quality after 2,000?
#
# <details><summary>Answer</summary>
#
# ```python
# ring = datamodules.RingDataModule(batch_size=256)
# both, *_ = study(
#     packing=2, penalty="r1_r2", penalty_weight=1e-4, penalty_interval=4,
#     learning_rate=1e-3, betas=(0.5, 0.9), schedule="linear", decay_start=0.2,
# )
# metric = ModeCoverage("centres", ring.centres, ring.sigma, ring.extent)
# metric.update(samples := both.sample(2500))
# together = {key: value.item() for key, value in metric.compute().items()}
# print(together)
# plt.figure(figsize=(5, 5))
# plt.scatter(*ring.to_points(samples).T, s=2)
# plt.show()
# ```
#
# All eight modes, and several times as many samples of high quality as with either cure alone: the field comes to rest
# as the steps get smaller, and less noise from the batches moves it.
#
# </details>
