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
# # 6. Conditional GANs and pix2pix
#
# *Réseaux antagonistes conditionnels et traduction d'images (pix2pix)*
#
# A GAN draws something like its data; a conditional one draws what it is asked for. First a class is asked for, and
# the latent decides what the class leaves open. Then a whole picture is the condition: pix2pix makes a façade of a
# map.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.nn import functional

import datamodules
from lightning_genmodels import ConditionalGAN, Pix2Pix
from lightning_genmodels.metrics import SlicedWasserstein
from lightning_genmodels.networks.digit_classifier import digit_classifier
from lightning_genmodels.pictures import image_grid

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
seed_everything(0, verbose=False)


def fit(model, data, steps):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(max_steps=steps, limit_val_batches=0, enable_model_summary=False, **quiet).fit(model, data)
    return model.cpu().eval()


def show(images, columns, title):
    plt.figure(figsize=(10, 10 * len(images) / columns**2 + 0.4))
    plt.imshow(image_grid(images, columns))
    plt.title(title)
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## Does it draw what it is asked for?
#
# The generator is given a label beside its latent, and the discriminator is told which label the image should have.
# Ten columns, one class each. A classifier that was trained on MNIST's digits reads them; it knows digits of 20 pixels
# with a border, so smaller ones are brought to that.

# %%
digits = datamodules.DigitsDataModule()
# digits = datamodules.MNISTDataModule()  # the real set
digits.prepare_data()
digits.setup()


# %%
def read(images):
    if images.shape[-1] != 28:
        enlarged = functional.interpolate(images, (20, 20), mode="bicubic", antialias=True)
        images = functional.pad(enlarged.clamp(0, 1), (4, 4, 4, 4))
    with torch.no_grad():
        return digit_classifier()(images).argmax(1)


# %%
gan = fit(ConditionalGAN(digits.image_shape), digits, 2500)
asked = torch.arange(1000) % 10
drawn = gan.sample(1000, labels=asked)
test = [digits.to_float(batch) for batch in digits.test_dataloader()]
right = {
    "real": torch.cat([read(batch.image) == batch.label for batch in test]).float().mean().item(),
    "drawn": (read(drawn) == asked).float().mean().item(),
}
print("share that is read as its label says:", right)
show(drawn[:50], 10, "a class in each column")

# %% [markdown]
# Nearly all real digits are read as what they are, and most of the drawn ones as what was asked for. The digits of a
# column differ: each has a latent of its own.
#
# ## What is left to the latent?
#
# Now each row has one latent, and each column one label. What do the images of a row have in common? We measure of
# each image the ink, the mean of its pixels, and the slant, by how much a stroke moves to the right for each pixel
# that it goes up; and, over 500 rows, how the figures of two columns are correlated. Rows of independent latents would
# have 0.

# %%
rows = 500
latents = torch.randn(rows, gan.latent_dim)
with torch.no_grad():
    table = gan(latents.repeat_interleave(10, 0), torch.arange(10).repeat(rows))


# %%
def slant(images):  # the slope of the line through the ink
    weights = images.mean(1) / images.mean(1).sum((1, 2), keepdim=True)
    down, across = (torch.arange(side).float() for side in weights.shape[1:])
    down, across = down.view(-1, 1), across.view(1, -1)
    down = down - (weights * down).sum((1, 2), keepdim=True)
    across = across - (weights * across).sum((1, 2), keepdim=True)
    return -(weights * down * across).sum((1, 2)) / (weights * down**2).sum((1, 2))


# %%
apart = ~torch.eye(10, dtype=torch.bool)
alike = {}
for name, figure in {"ink": table.flatten(1).mean(1), "slant": slant(table)}.items():
    alike[name] = figure.view(rows, 10).T.corrcoef()[apart].mean().item()
print("correlation of two columns:", alike)
leaning = slant(table).view(rows, 10).mean(1).argsort()
chosen = torch.cat([leaning[:3], leaning[-3:]])
shown = table.view(rows, 10, *table.shape[1:])[chosen].flatten(0, 1)
show(shown, 10, "a latent in each row, of 500 the three that lean least and the three that lean most")

# %% [markdown]
# The upper rows stand upright or lean back, the lower ones lean to the right, in every column; and where one digit of
# a row has much ink, the others have much as well. Nothing in the loss asks for this. The label says the class, so
# what is left to the latent is how it is written, and the network uses it in the same way for all classes.
#
# ## What does the absolute error draw, and what does a discriminator add?
#
# The condition is now a map: where a façade has its wall, windows and door. It does not say the colour of the wall,
# nor which windows are lit. One U-Net learns from the absolute error alone (L1). The other's pictures also have to
# pass a discriminator, which sees them beside the map. Two figures compare both with real façades: the absolute error,
# and the sliced Wasserstein distance, between patches of drawn pictures and patches of real ones.

# %%
seed_everything(0, verbose=False)
facades = datamodules.ShapePairsDataModule(batch_size=1)
# facades = datamodules.FacadesDataModule(image_size=64)  # the real set
facades.prepare_data()
facades.setup()
batches = [facades.to_float(batch) for batch in facades.test_dataloader()]
maps, real = (torch.cat(part) for part in zip(*batches, strict=True))

# %%
small = {"network_depth": 3, "width": 32, "patch_size": 34, "l1_weight": 30}
rates = {"learning_rate": 1e-3, "discriminator_learning_rate": 2e-4, "schedule": "linear"}
alone = fit(Pix2Pix(facades.image_shape, adversarial_weight=0, **small, **rates), facades, 600)
pix2pix = fit(Pix2Pix(facades.image_shape, **small, **rates), facades, 600)
pictures = {"L1": alone.translate(maps), "pix2pix": pix2pix.translate(maps)}

# %%
errors, distances = {}, {}
for name, images in pictures.items():
    errors[name] = (images - real).abs().mean().item()
    metric = SlicedWasserstein()
    metric.update(real, real=True)
    metric.update(images, real=False)
    distances[name] = metric.compute()["swd"].item()
print("absolute error:", errors, "\nsliced Wasserstein distance:", distances)
show(torch.cat([maps[:6], *(images[:6] for images in pictures.values()), real[:6]]), 6, "map, L1, pix2pix, real")

# %% [markdown]
# By L1 alone every window is the same pale yellow, without the bars, and every wall the same greyish brown: the
# smallest error has a picture between those that are possible. No real façade looks so, and a discriminator would tell
# at once. pix2pix draws some windows lit and others dark, crossed by stripes for their bars. It cannot know which are
# dark in the real façade, so its error is larger; but its patches are nearer to those of real façades. Its walls still
# have all much the same colour.
#
# ## What does the discriminator look at?
#
# It gives no verdict on the whole picture, but one on each patch of 34 pixels, with the map beside it: near 1, or
# white, where it takes it for real. It is shown real façades, drawn ones, pictures whose right half was drawn by L1
# alone, and real façades beside the map of another one.

# %%
half = maps.shape[-1] // 2
halves = torch.cat([real[..., :half], pictures["L1"][..., half:]], 3)
other = maps.roll(1, 0)  # of the façade before it
cases = {"real": (maps, real), "halves": (maps, halves), "another map": (other, real)}
cases |= {name: (maps, images) for name, images in pictures.items()}

# %%
with torch.no_grad():  # images in [-1, 1], map and picture as channels of one image; a logit for each patch
    verdicts = {
        name: pix2pix.discriminator(2 * torch.cat(pair, 1) - 1)[0][-1].sigmoid() for name, pair in cases.items()
    }
means = {name: verdict.mean().item() for name, verdict in verdicts.items()}
ends = {"left": verdicts["halves"][..., :4].mean().item(), "right": verdicts["halves"][..., -4:].mean().item()}
print("mean verdicts:", means, "\nof the halves, at the left and right border:", ends)


# %%
def below(images, name):  # the verdicts, as grey, below what was judged
    return images[:8], functional.interpolate(verdicts[name][:8], images.shape[2:]).expand(-1, 3, -1, -1)


lines = (real, "real"), (pictures["pix2pix"], "pix2pix"), (halves, "halves"), (other, "another map")
title = "verdicts (white: real) of real façades, of pix2pix, of a right half by L1, of the real façades with this map"
show(torch.cat([part for line in lines for part in below(*line)]), 8, title)

# %% [markdown]
# Real façades get lighter verdicts than those of pix2pix, and what L1 alone draws is found out everywhere. Of the
# halves it finds out the right one: a verdict is about its place, though not only, as the layers normalise each image
# as a whole, and the left half is darker than before. But a real façade beside a wrong map keeps most of its verdict.
# In training all pictures, real and drawn, were beside their own maps, so that nothing has taught the discriminator to
# look for a map that does not fit.

# %% [markdown]
# **Exercise.** Labels may also be vectors with a number for each class, and half of a 4 and half of a 9 is such a
# vector. What does the generator draw of it, and what does the classifier read?
#
# <details><summary>Answer</summary>
#
# ```python
# labels = torch.zeros(500, 10)
# labels[:, [4, 9]] = 0.5
# between = gan.sample(500, labels=labels)
# votes = read(between).bincount(minlength=10)
# print(votes)
# show(between[:20], 10, "half a 4, half a 9")
# ```
#
# Shapes that are something of both, many of them smeared. The classifier takes few of them for a 4 or a 9, and more
# for an 8 than for any other. In training every label was one class, so the discriminator never judged what is drawn
# of half a label.
#
# </details>
