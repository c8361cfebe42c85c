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
# # 8. StyleGAN: from styles to editing
#
# *StyleGAN : du style à l'édition d'images*
#
# A plain generator gets its latent at the entrance. StyleGAN makes a *style* of it, by a network of its own, and gives
# the style to every layer: it sets the scale and the mean of each channel. So what the layers draw can be taken apart.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer, seed_everything

import datamodules
from lightning_genmodels import StyleGAN
from lightning_genmodels.callbacks.collapse_watch import spread
from lightning_genmodels.editing import (
    attribute_direction,
    deviation_along,
    draw_styles,
    images_of,
    mix,
    mixing_grid,
    move,
)
from lightning_genmodels.metrics import DensityCoverage, PrecisionRecall
from lightning_genmodels.pictures import image_grid

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
seed_everything(0, verbose=False)

data = datamodules.DigitsDataModule(batch_size=32, image_size=16)
# data = datamodules.MNISTDataModule(batch_size=32, image_size=16)  # the real set
data.prepare_data()
data.setup()
real = torch.cat([data.to_float(batch).image for batch in data.train_dataloader()])[:1200]


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def show(images, columns, width=8, title=""):
    picture = image_grid(images, columns)
    plt.figure(figsize=(width, width * picture.shape[0] / picture.shape[1] + 0.4))
    plt.imshow(picture)
    plt.title(title)
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## What does it draw?
#
# The mapping network makes a style w of z ~ N(0, I); the synthesis network begins with a constant of 4x4 pixels and
# draws at 4, 8 and 16 pixels, by two layers each. All of it is trained as any GAN: 1,400 batches of digits here.
# *Precision* is the share of samples that lie among the digits, *coverage* the share of digits with a sample beside
# them, as a classifier of digits sees them.

# %%
seed_everything(0, verbose=False)
model = StyleGAN(data.image_shape, latent_dim=32, width=16, mapping_depth=4, learning_rate=4e-3, penalty_interval=1,
                 ema_images=3000)  # fmt: skip
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
Trainer(max_steps=1400, max_epochs=-1, limit_val_batches=0, **quiet).fit(model, data)
model.cpu().eval()


# %%
def scores_of(images):
    found = {}
    for metric in (PrecisionRecall(k=3, features="digits"), DensityCoverage(k=5, features="digits")):
        metric.update(real, real=True)
        metric.update(images, real=False)
        found |= {name.removesuffix("_digits"): value.item() for name, value in metric.compute().items()}
    return found


scores = {1.0: scores_of(model.sample(len(real), generator=source()))}
print(f"precision {scores[1.0]['precision']:.2f}, coverage {scores[1.0]['coverage']:.2f}")
show(torch.cat([real[:32], model.sample(64, generator=source())]), 16, 12, "two rows of digits, four rows of samples")

# %% [markdown]
# Many samples are digits that one recognises; others lie between two digits, or are blots. That is what the scores say:
# about half of the samples lie among the digits, and most digits have no sample beside them. The packaged configuration
# `stylegan_digits` is twice as wide, ends in a tanh and sees four times as many images; it has a precision of .62 and a
# coverage of .60.

# %% [markdown]
# ## Which layers decide what?
#
# Nothing says that all layers have to take the same style. The coarse ones get that of one image, the others, from the
# *crossover* on, that of another. Below, a row's image is at its left, a column's above it; the rows' styles go to the
# layers of 4 pixels, then to those of 4 and 8.

# %%
for crossover in (2, 4):
    show(mixing_grid(model, 4, 10, crossover, generator=source()), 11, 10, f"rows decide {crossover} layers of 6")

# %%
coarse, fine = draw_styles(model, 400, source()).chunk(2)


def distance(first, second):
    return (first - second).square().mean((1, 2, 3)).sqrt().mean().item()


crossovers = range(model.style_layers + 1)
mixed = [images_of(model, mix(coarse, fine, crossover, model.style_layers)) for crossover in crossovers]
to_coarse, to_fine = ([distance(images, ends) for images in mixed] for ends in (mixed[-1], mixed[0]))

# %%
plt.figure(figsize=(6, 2.5))
plt.plot(crossovers, to_coarse, label="to the image of the coarse style")
plt.plot(crossovers, to_fine, label="to that of the fine one")
plt.xlabel("crossover: layers with the coarse style")
plt.ylabel("distance")
plt.legend()
plt.show()

# %% [markdown]
# With two layers of six, both sources have a part in the digit. With four, the row decides which digit it is, where it
# stands and how it leans; the column changes no more than greys and the edges of strokes. In digits of 16 pixels there
# is not much that is finer than 8 pixels. In faces the fine styles are the colours of skin and hair (Karras et al.
# 2018).

# %% [markdown]
# ## What is left to the noise?
#
# Each layer also adds noise to its pixels, by a strength that it has learned for every channel. The same five styles,
# each drawn with six noises, and in the last column how much they differ:

# %%
styles = draw_styles(model, 5, source(1))
noisy = model.synthesize(styles.repeat_interleave(64, 0), model.draw_noises(5 * 64, source())).detach().clamp(0, 1)
noisy = noisy.unflatten(0, (5, 64))  # (style, noise, C, S, S)
deviation = noisy.std(1)
rows = torch.cat([noisy[:, :6], (deviation / deviation.max())[:, None]], 1)
show(rows.flatten(0, 1), 7, 6, "one style a row; at the right the deviation, made visible")
by_noise = noisy.std(1).mean().item()
by_style = images_of(model, draw_styles(model, 500, source())).std(0).mean().item()
print(f"A pixel varies by {by_noise:.3f} with the noise, and by {by_style:.3f} with the style")

# %% [markdown]
# Next to nothing: the rows look alike, and only the last column, which is stretched to the full range, shows that
# edges of strokes tremble. The noise is there for what is random in an image of a given style, such as where each hair
# lies. A small digit has nothing of the kind, and the network has learned to do without.

# %% [markdown]
# ## What does truncation cost?
#
# Rare styles are learned from few digits, and drawn worst. *Truncation* moves every style towards the mean one, to
# mean + psi (w - mean).

# %%
variety, rows = {}, []
for psi in (1.0, 0.7, 0.5, 0.0):
    drawn = images_of(model, draw_styles(model, len(real), source(), psi))  # without noise
    scores[psi] = scores_of(drawn)
    variety[psi] = (spread(drawn) / spread(real)).item()
    rows.append(drawn[:12])
    print(f"psi {psi}: precision {scores[psi]['precision']:.2f}, coverage {scores[psi]['coverage']:.2f}, "
          f"two samples differ by {variety[psi]:.2f} of what two digits do")  # fmt: skip
show(torch.cat(rows), 12, 10, "the same latents with psi 1, 0.7, 0.5, 0")

# %% [markdown]
# Nearer to the mean the samples are more typical, and the doubtful ones become digits: precision rises. Fewer digits
# have a sample beside them: coverage falls, and so does the difference of two samples. At 0 all are one image, that of
# the mean style, which is not the mean of the images: that would be grey.

# %% [markdown]
# ## Where in the styles does an attribute lie?
#
# Faces age along a direction of w. Digits have other attributes, which the pixels tell: how far one leans, and how
# much ink it has. 4,000 samples are measured; a plane between those well above the median and those well below
# has the direction as its normal (Shen et al. 2020).


# %%
def slant(images):
    """(N, C, S, S) -> (N,): pixels to the right for each one up, by the second moments of the ink."""
    ink = images.mean(1)
    place = torch.arange(ink.shape[-1], dtype=ink.dtype)
    x, y = place, place[:, None]
    mass = ink.sum((1, 2))
    x = x - ((ink * x).sum((1, 2)) / mass)[:, None, None]
    y = y - ((ink * y).sum((1, 2)) / mass)[:, None, None]
    return -(ink * x * y).sum((1, 2)) / (ink * y * y).sum((1, 2))


def amount_of_ink(images):
    return images.mean((1, 2, 3))


# %%
styles = draw_styles(model, 4000, source(2))
images = images_of(model, styles)
directions, deviations, accuracies, reached = {}, {}, {}, {}
for name, measure in {"slant": slant, "ink": amount_of_ink}.items():
    values = measure(images)
    directions[name], accuracies[name] = attribute_direction(styles, values - values.median(), name)
    deviations[name] = deviation_along(styles, directions[name])
    print(f"{name}: the plane is right for {accuracies[name]:.0%} of the samples")

# %%
for name, measure in {"slant": slant, "ink": amount_of_ink}.items():
    moved = [move(styles[:500], directions[name], strength, deviations[name]) for strength in (-2, -1, 0, 1, 2)]
    edited = [images_of(model, some) for some in moved]
    reached[name] = [measure(drawn).mean().item() for drawn in edited]
    print(f"{name}: the mean moves from " + " to ".join(f"{mean:.2f}" for mean in reached[name]))
    show(torch.cat([drawn[:12] for drawn in edited]), 12, 10, f"{name}: moved by -2, -1, 0, 1, 2")

# %% [markdown]
# A straight line in w, found from nothing but a measure of the samples. The digits lean from the left to the right, or
# get bolder, and by one deviation they mostly stay the digits that they are. By two the slant also changes some of
# them into others: in these data slant and digit go together, as sevens lean to the right and sixes to the left.
#
# Of faces no measure is as simple. There a classifier that has learned CelebA's forty attributes reads the samples,
# and the rest is the same two lines, `attribute_direction(styles, logits, "Young")` and `move`; to age a face is to
# move it against that direction. `genmodels fit --config stylegan_celeba` trains a StyleGAN of faces, in 140 minutes of
# one core, and `genmodels edit --checkpoint C --attribute Young --strength -4 --truncation 0.7 --output aged.png` does
# all of it:
#
# ![Three faces that get older from left to right](../docs/pictures/stylegan_ageing.png)
#
# Hair turns grey, foreheads grow. What comes along unasked, as the background that turns pale, is what young and old
# faces of the set differ in besides, or what so small a network cannot tell apart.

# %% [markdown]
# **Exercise.** A test digit has no latent; `project` looks for the style that draws it. Compare a style for all layers
# with one for each layer (`per_layer=True`): how near do they come, beside the nearest of the 4,000 samples? Then take
# ink from the test digits, and give them some.
#
# <details><summary>Answer</summary>
#
# ```python
# from lightning_genmodels.editing import project
# from lightning_genmodels.metrics import pyramid_distance
#
# targets = data.to_float(next(iter(data.test_dataloader()))).image[:8]
# projections = {"one style": project(model, targets, steps=300, generator=source()),
#                "a style a layer": project(model, targets, steps=300, per_layer=True, generator=source())}
# nearest = torch.stack([pyramid_distance(images, target.expand_as(images)).min() for target in targets])
# distances = {"nearest sample": nearest.mean().item()}
# distances |= {name: found.distances.mean().item() for name, found in projections.items()}
# print({name: round(value, 4) for name, value in distances.items()})
# show(torch.cat([targets, *(found.images for found in projections.values())]), 8, 6, "test digits; found in w; in w+")
# edited_ink = {}
# for name, found in projections.items():
#     moved = [move(found.styles, directions["ink"], strength, deviations["ink"]) for strength in (-3, 0, 3)]
#     edited = [images_of(model, some) for some in moved]
#     edited_ink[name] = [amount_of_ink(drawn).mean().item() for drawn in edited]
#     show(torch.cat(edited), 8, 6, f"{name}: less ink, as found, more ink")
# print(edited_ink)
# ```
#
# One style comes much nearer than any of the 4,000 samples, and one for each layer several times nearer still: a
# generator can draw what it never does by itself. Both can be moved like samples, and the ink goes and comes.
#
# </details>
