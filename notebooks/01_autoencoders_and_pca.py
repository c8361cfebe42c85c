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
# # 1. Autoencoders and principal component analysis
#
# *Auto-encodeurs et analyse en composantes principales*
#
# An encoder makes a short code of an image, a decoder draws the image again from the code, and both learn from the
# difference between the two images alone, without any label. What the code keeps is what digits have in common.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer, seed_everything
from sklearn.decomposition import PCA

import datamodules
from lightning_genmodels import VAE, Autoencoder
from lightning_genmodels.metrics import DensityCoverage, probe_codes
from lightning_genmodels.pictures import image_grid

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
seed_everything(0, verbose=False)

data = datamodules.DigitsDataModule()
# data = datamodules.MNISTDataModule()  # the real set
data.prepare_data()
data.setup()


def gather(loader):
    images, labels = zip(*(data.to_float(batch) for batch in loader), strict=True)
    return torch.cat(images), torch.cat(labels)


def fit(model, steps=3000):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(max_steps=steps, limit_val_batches=0, enable_model_summary=False, **quiet).fit(model, data)
    return model.cpu().eval()


def squared_error(drawn, images):  # of an image, the sum over its pixels
    return (drawn - images).square().flatten(1).sum(1).mean().item()


def show(images, columns, title=""):
    plt.figure(figsize=(10, 10 * len(images) / columns**2 + 0.4))
    plt.imshow(image_grid(images, columns))
    plt.title(title)
    plt.axis("off")
    plt.show()


(train, train_labels), (test, test_labels) = gather(data.train_dataloader()), gather(data.test_dataloader())
print(len(train), "images to train on,", len(test), "to test with, of the shape", data.image_shape)

# %% [markdown]
# ## Can a digit be drawn from ten numbers?
#
# The encoder has two hidden layers, the decoder is its mirror image. The error is the squared difference of two images,
# summed over the pixels; beside it stands that of a model which always draws the mean digit.

# %%
deep = fit(Autoencoder(data.image_shape, 10, activation="silu", learning_rate=2e-3, schedule="cosine"))
errors = {"mean digit": squared_error(train.mean(0), test), "deep": squared_error(deep.reconstruct(test), test)}
print(errors)
show(torch.cat([test[:16], deep.reconstruct(test[:16])]), 16, "test digits, and the same drawn from ten numbers")

# %% [markdown]
# Yes: nearly all can be read, and look like those above them. Less than a sixth of the mean digit's error is left, and
# these digits were not seen in training: ten numbers tell most of what distinguishes one digit from another.
#
# ## Is a linear autoencoder principal component analysis?
#
# Principal component analysis finds the ten directions in which digits vary most, by linear algebra. A linear
# autoencoder whose decoder has the encoder's weights, transposed ("tied"), searches for the same by gradient descent.
# Two subspaces are the same where the cosines of all angles between them are 1.

# %%
linear = {"hidden_sizes": (), "output_activation": "linear", "tied": True}
tied = fit(Autoencoder(data.image_shape, 10, learning_rate=1e-2, schedule="cosine", **linear))
pca = PCA(10).fit(train.flatten(1))
projected = torch.from_numpy(pca.inverse_transform(pca.transform(test.flatten(1)))).view_as(test)
with torch.no_grad():
    errors |= {"PCA": squared_error(projected, test), "linear": squared_error(tied.decode(tied.encode(test)), test)}

# %%
axes, components = tied.filters() - 0.5, torch.from_numpy(pca.components_).float()
cosines = torch.linalg.svdvals(torch.linalg.qr(axes.flatten(1).T).Q.T @ components.T)
print(errors, "\nsmallest cosine:", cosines.min().item())
largest = components.abs().amax(1, keepdim=True)
show(torch.cat([(components / largest / 2 + 0.5).view_as(axes), axes + 0.5]), 10, "PCA's axes, the autoencoder's axes")

# %% [markdown]
# The error and the subspace are those of principal component analysis. The axes in it are not: the principal ones are
# ordered by how much digits vary along them, the autoencoder's are any ten that span the same space. With the same ten
# numbers the deep one has about half the error: digits do not lie on a flat subspace.
#
# ## What does a code of two numbers show?
#
# Then the code is a point in the plane. Each is drawn in the colour of its class, which no training has seen; and the
# five nearest codes of training digits vote for the class of a test digit.

# %%
plane = fit(Autoencoder(data.image_shape, 2, activation="silu", learning_rate=2e-3, schedule="cosine"))
pca2 = PCA(2).fit(train.flatten(1))
parts = {"train": train[:5000], "test": test}
with torch.no_grad():
    codes = {name: plane.encode(images) for name, images in parts.items()}
    points = {name: torch.from_numpy(pca2.transform(images.flatten(1))) for name, images in parts.items()}

# %%
wrong = {}
figure, panels = plt.subplots(1, 2, figsize=(11, 5))
for panel, (name, code) in zip(panels, {"PCA": points, "deep": codes}.items(), strict=True):
    wrong[name] = probe_codes(code["train"], train_labels[:5000], code["test"], test_labels)["knn"]
    panel.scatter(*code["train"].T, c=train_labels[:5000], cmap="tab10", s=6)
    panel.set_title(f"{name}: {wrong[name]:.0%} of the test digits read wrongly")
figure.colorbar(panel.collections[0], ax=panels, label="class")
plt.show()

# %% [markdown]
# On the plane of principal component analysis the classes overlap. The autoencoder bends the plane through the space of
# images, and most classes get a region of their own, often an arm that begins in the middle.
#
# ## What lies between two digits?
#
# Halfway between two images pixel by pixel, one shines through the other. Halfway between two codes there is one code,
# of which the decoder draws one image. How far are both from the nearest training digit?


# %%
def to_nearest(images):
    return torch.cdist(images.flatten(1), train.flatten(1)).min(1).values.square().mean().item()


half = min(len(test), 2000) // 2
differ = test_labels[:half] != test_labels[half : 2 * half]
first, last = test[:half][differ], test[half : 2 * half][differ]
share = torch.linspace(0, 1, 9).view(9, 1, 1, 1)
fade = torch.lerp(first.unsqueeze(1), last.unsqueeze(1), share)
with torch.no_grad():
    way = deep.interpolate(deep.encode(first), deep.encode(last), steps=9)

# %%
distances = {"test digits": to_nearest(test[:2000])}
distances |= {"cross-fade": to_nearest(fade[:, 4]), "way between codes": to_nearest(way[:, 4])}
print(distances)
show(torch.stack([fade[:4], way[:4]], 1).flatten(0, 2), 9, "cross-fade, and below it the way between the codes")

# %% [markdown]
# In the middle of a cross-fade one sees both digits, pale. The middle of the way between codes is nearer to real
# digits, but still farther from them than a test digit is: nothing told the decoder what to draw where no code of a
# digit lies.
#
# ## Can it draw a digit that nobody wrote?
#
# A code has to be drawn for it. We draw codes of the deep autoencoder from the Gaussian that has the mean and the
# covariance of its codes. A variational autoencoder (VAE) is trained so that its codes together are Gaussian and that
# each is a little cloud instead of a point, so that the decoder knows what to draw between them. *Density* says in
# how many real digits' neighbourhoods an image lies, as a share of what real images do, *coverage* how many real digits
# have such an image near.

# %%
vae = fit(VAE(data.image_shape, 10, activation="silu", learning_rate=2e-3, schedule="cosine"))
with torch.no_grad():
    known = deep.encode(train)
    drawn = torch.distributions.MultivariateNormal(known.mean(0), known.T.cov()).sample((1000,))
    samples = {"deep": deep.decode(drawn).clamp(0, 1), "VAE": vae.sample(1000)}
    distances["VAE's way"] = to_nearest(vae.interpolate(vae.encode(first), vae.encode(last), steps=3)[:, 1])

# %%
scores = {}
for name, images in samples.items():
    metric = DensityCoverage()
    metric.update(train[:1000], real=True)
    metric.update(images, real=False)
    scores[name] = {score: value.item() for score, value in metric.compute().items()}
print(scores, distances)
show(torch.cat([images[:32] for images in samples.values()]), 16, "random codes: deep (above) and VAE (below)")

# %% [markdown]
# What the plain autoencoder draws of a random code is often a tangle of strokes. Most of the VAE's samples are digits,
# though smoother ones than people write, and halfway between two of its codes lies an image that is as near to a real
# digit as another person's digit is.

# %% [markdown]
# **Exercise.** Give the deep autoencoder `activation="linear"` and `output_activation="linear"`, and leave its layers
# as they are. It has many more weights than the tied one. Does its error go below that of PCA?
#
# <details><summary>Answer</summary>
#
# ```python
# straight = {"activation": "linear", "output_activation": "linear"}
# layered = fit(Autoencoder(data.image_shape, 10, learning_rate=2e-3, schedule="cosine", **straight))
# with torch.no_grad():
#     errors["deep and linear"] = squared_error(layered.decode(layered.encode(test)), test)
# print(errors)
# ```
#
# It does not. Linear layers one after another make one linear map, and no linear map to ten numbers loses less of
# the digits it is fitted to than principal component analysis does. What goes below it is the bend in the activations.
#
# </details>
