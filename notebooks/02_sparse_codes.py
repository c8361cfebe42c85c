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
# # 2. Sparse codes
#
# *Codes parcimonieux*
#
# A code shorter than the image has to choose what to keep. A longer one can describe each image by a few of many words,
# but only if something keeps it from copying. Three remedies are tried here: units that are seldom active, a fixed
# number of active units, and images that have to be mended.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer, seed_everything

import datamodules
from lightning_genmodels import Autoencoder, DenoisingAutoencoder, KSparseAutoencoder, SparseAutoencoder
from lightning_genmodels.metrics import probe_codes
from lightning_genmodels.pictures import image_grid

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
seed_everything(0, verbose=False)

data = datamodules.DigitsDataModule()
# data = datamodules.MNISTDataModule()  # the real set
data.prepare_data()
data.setup()


def gather(*loaders):
    images, labels = zip(*(data.to_float(batch) for loader in loaders for batch in loader), strict=True)
    return torch.cat(images), torch.cat(labels)


def fit(model, steps=1500):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(max_steps=steps, limit_val_batches=0, enable_model_summary=False, **quiet).fit(model, data)
    return model.cpu().eval()


def show(*pictures):  # (title, images, columns) each
    _, panels = plt.subplots(1, len(pictures), figsize=(11, 11 / len(pictures)), squeeze=False)
    for panel, (title, images, columns) in zip(panels[0], pictures, strict=True):
        panel.imshow(image_grid(images, columns))
        panel.set_title(title)
        panel.axis("off")
    plt.show()


train, train_labels = (part[:5000] for part in gather(data.train_dataloader()))
test, test_labels = gather(data.val_dataloader(), data.test_dataloader())  # nothing is chosen by the validation split
noise = torch.rand(test[:500].shape, generator=torch.Generator().manual_seed(0))
code = 2 * test[0].numel()
rates = {"learning_rate": 3e-3, "schedule": "cosine"}
print(len(train), "digits to train on,", len(test), "to test with; twice as many units as pixels:", code)

# %% [markdown]
# ## What does a code learn that is longer than the image?
#
# The test is an image that no one would take for a digit: whoever copies, redraws it too. A linear autoencoder with
# twice as many units as pixels is free to copy.

# %%
errors = {}


def judge(name, model):
    pairs = {"digits": (model.reconstruct(test), test), "noise": (model.reconstruct(noise), noise)}
    errors[name] = {kind: (a - b).square().flatten(1).sum(1).mean().item() for kind, (a, b) in pairs.items()}
    print(name, errors[name])


def redrawn(model):  # each image above what is drawn of it
    return torch.cat([test[:10], model.reconstruct(test[:10]), noise[:10], model.reconstruct(noise[:10])])


# %%
free = fit(Autoencoder(data.image_shape, code, hidden_sizes=(), output_activation="linear", **rates))
judge("free", free)
show(
    ("digits and noise, each with what is drawn below it", redrawn(free), 10), ("its filters", free.filters()[:40], 10)
)

# %% [markdown]
# It redraws digits all but without error, and noise nearly as it is: it is the identity, but for a few pixels at the
# border, which no digit uses. Its filters, which show what each unit looks for, are as random as they were at the
# beginning: it has learned to copy pixels, not what a digit is.
#
# ## What if each unit is active for few images?
#
# In the sparse autoencoder a unit is between 0 and 1, and its mean over the images is pulled to rho = .05 by a
# divergence: it has to choose the images for which it speaks.

# %%
penalty = {"rho": 0.05, "beta": 0.1, "weight_decay": 1e-4}
sparse = fit(SparseAutoencoder(data.image_shape, code, learning_rate=1e-2, schedule="cosine", **penalty), steps=2000)
judge("sparse", sparse)
with torch.no_grad():
    activity = sparse.encode(test)

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(11, 3))
left.bar(range(code), activity.mean(0))
left.axhline(sparse.rho, color="black")
left.set(title="mean activity of each unit; the line is rho", xlabel="unit")
right.hist(activity.flatten(), bins=40)
right.set(title="activity of all units at all images", yscale="log")
plt.show()
show(("the same images", redrawn(sparse), 10), ("its filters", sparse.filters()[:40], 10))

# %% [markdown]
# Most units stay near rho, and at any one image most of them are near 0. Noise is not redrawn any more, and the price
# is an error in the digits. The filters have become spots and strokes, bright, and gaps between strokes, dark.
#
# ## What if only k units may speak?
#
# The k-sparse autoencoder keeps the k largest units of a code and sets the others to 0. We show the filters of those
# units that are used most.

# %%
kept = {}
for k in (1, 8, 32):
    kept[k] = fit(KSparseAutoencoder(data.image_shape, code, k=k, **rates))
    judge(f"k = {k}", kept[k])


def most_used(model):
    with torch.no_grad():
        return model.filters()[model.encode(train, model.k).abs().sum(0).argsort(descending=True)[:16]]


show(*((f"k = {k}", most_used(model), 4) for k, model in kept.items()))

# %% [markdown]
# A unit that has to draw an image alone is a whole digit: a 0, a 1, a 3, each in its most frequent shapes. One of eight
# is a part of digits, one of 32 fine texture. The more units may speak, the smaller is the error, of noise too: the
# copy comes back.
#
# ## What if the image has to be mended?
#
# A denoising autoencoder is given images half of whose pixels are set to 0, new ones in every batch, and is compared
# with the whole ones. Whoever copies would copy the holes.

# %%
mending = fit(DenoisingAutoencoder(data.image_shape, code, noise_level=0.5, **rates), steps=2000)
judge("denoising", mending)
holes = mending.corrupt(test[:10], generator=torch.Generator().manual_seed(0))
mended = torch.cat([test[:10], holes, mending.reconstruct(holes)])
show(("digits, their holes, mended", mended, 10), ("its filters", mending.filters()[:30], 10))

# %% [markdown]
# It fills the holes from what it knows of digits, and where too little is left, it draws a pale blend of what could
# have been there. Noise is no digit to it either. Its filters are spots and short strokes: a pixel is guessed from
# those around it.
#
# ## Which codes tell what digit it is?
#
# The codes were learned without labels. Now they are frozen, and a logistic regression learns the classes from them;
# the bars are its errors on digits that were not trained on.

# %%
models = {"free": free, "sparse": sparse, "k = 8": kept[8], "denoising": mending}
with torch.no_grad():
    codes = {"pixels": (train.flatten(1), test.flatten(1))}
    codes |= {name: (model.encode(train), model.encode(test)) for name, model in models.items()}
wrong = {
    name: probe_codes(seen, train_labels, unseen, test_labels, neighbours=0)["logistic"]
    for name, (seen, unseen) in codes.items()
}
print(wrong)

# %%
plt.figure(figsize=(6, 3))
plt.bar(list(wrong), [100 * share for share in wrong.values()])
plt.ylabel("% read wrongly")
plt.show()

# %% [markdown]
# The copy tells no more than the pixels do. Codes that had to choose or to mend make the classes easier to read: a
# fifth of the mistakes are gone, or more.

# %% [markdown]
# **Exercise.** The oldest remedy is a short code. Give the free autoencoder 16 units instead of `code`. What happens to
# its two errors?
#
# <details><summary>Answer</summary>
#
# ```python
# short = fit(Autoencoder(data.image_shape, 16, hidden_sizes=(), output_activation="linear", **rates))
# judge("short", short)
# show(("sixteen units", redrawn(short), 10))
# ```
#
# Both rise. Noise cannot be copied any more: it becomes a grey smear where digits have their ink. Digits lose what
# they lose in principal component analysis, which a linear autoencoder with a short code is.
#
# </details>
