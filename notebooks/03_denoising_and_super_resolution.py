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
# # 3. Denoising and super-resolution
#
# *Débruitage et super-résolution*
#
# A picture that was spoilt can be mended by whoever knows what pictures look like. Here a network learns it from pairs:
# spoilt pictures are made of good ones, by noise or by making them small, and the network has to find the good ones
# again. The pictures are drawn façades; the labels that come with them are not used.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.nn import functional
from torch.utils.data import DataLoader
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.transforms.functional import gaussian_blur

import datamodules
from lightning_genmodels import ImageRegression, SuperResolution
from lightning_genmodels.metrics import ImagePSNR
from lightning_genmodels.pictures import image_grid

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
seed_everything(0, verbose=False)

data = datamodules.ShapePairsDataModule("AtoB", image_size=48, batch_size=8)
# data = datamodules.FacadesDataModule(direction="AtoB", image_size=48, batch_size=8)  # the real set
data.prepare_data()
data.setup()


def gather(loader):
    return torch.cat([data.to_float(batch)[0] for batch in loader])


def fit(model, steps=250, **source):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=steps, max_epochs=-1, limit_val_batches=0, enable_model_summary=False, **quiet)
    trainer.fit(model, **source or {"datamodule": data})
    return model.cpu().eval()


def score(made, target):
    metric = ImagePSNR()
    metric.update(made.clamp(0, 1), target)
    similarity = structural_similarity_index_measure(made.clamp(0, 1), target, data_range=1.0)
    return {"psnr": metric.compute().item(), "ssim": similarity.item()}


def show(rows, title, columns=8, width=12):
    picture = image_grid(torch.cat([images[:columns] for images in rows]), columns)
    plt.figure(figsize=(width, width * picture.shape[0] / picture.shape[1] + 0.4))
    plt.imshow(picture)
    plt.title(title)
    plt.axis("off")
    plt.show()


train, test = gather(data.train_dataloader()), gather(data.test_dataloader())
print(len(train), "pictures to train on,", len(test), "to test with, of the shape", data.image_shape)

# %% [markdown]
# ## Is it better than a filter?
#
# To each colour of each pixel Gaussian noise is added, of sigma 30 where white is 255. A filter knows nothing of
# façades: a Gaussian blur takes a weighted mean of the neighbours, a median filter the middle one of them. Of each we
# take the width that is best for the very pictures it is tested with. *PSNR* is the error in decibels (10 more are a
# tenth of the squared error), *SSIM* compares the patterns in small windows (1 is equal); more is better for both.


# %%
def noisy(images, sigma):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + sigma / 255 * noise


def median(images, side):
    padded = functional.pad(images, [side // 2] * 4, mode="replicate")
    return padded.unfold(2, side, 1).unfold(3, side, 1).flatten(4).median(-1).values


def best(candidates, target):
    return max(candidates, key=lambda made: score(made, target)["psnr"])


# %%
network = {"network": "dncnn", "network_depth": 5, "width": 24, "batch_norm": False, "losses": ("l2",)}
network |= {"learning_rate": 3e-3, "schedule": "cosine"}
one_level = fit(ImageRegression(data.image_shape, noise_sigma=(30, 30), **network))
spoilt = noisy(test, 30)
mended = {
    "noisy": spoilt,
    "median": best([median(spoilt, side) for side in (3, 5)], test),
    "blur": best([gaussian_blur(spoilt, 9, width) for width in (0.4, 0.6, 0.8, 1.0, 1.3)], test),
    "network": one_level.translate(spoilt),
}

# %%
scores = {name: score(made, test) for name, made in mended.items()}
for name, row in scores.items():
    print(f"{name:>8}: PSNR {row['psnr']:.1f} dB, SSIM {row['ssim']:.2f}")
show([*mended.values(), test], "noisy, median, blur, network; and without noise")

# %% [markdown]
# The network wins by several decibels. A filter has to choose: the blur keeps the crosses of the windows, and noise in
# the sky; the median makes the crosses spots. The network smooths the sky and keeps the crosses. Of the
# bricks, which are weaker than the noise, little is left.
#
# ## What does it do at another noise level?
#
# The network has seen sigma 30 and nothing else. A second one is trained with another sigma for every picture, drawn
# from 0 to 75. Both are tested at six levels; the dotted line is what they are given.

# %%
all_levels = fit(ImageRegression(data.image_shape, noise_sigma=(0, 75), **network))
sigmas = (5, 10, 20, 30, 50, 75)
models = {"one level": one_level, "all levels": all_levels}
curves = {"as it is": [score(noisy(test, sigma), test)["psnr"] for sigma in sigmas]}
with torch.no_grad():
    for name, model in models.items():
        curves[name] = [score(model.output(noisy(test, sigma)), test)["psnr"] for sigma in sigmas]
    weak, strong = noisy(test[:4], 10), noisy(test[:4], 75)
    rows = [torch.cat([weak, strong]), *(model.output(torch.cat([weak, strong])) for model in models.values())]
show([*rows, torch.cat([test[:4], test[:4]])], "sigma 10 and sigma 75; by one level, by all levels, without noise")

# %%
plt.figure(figsize=(6, 3))
for name, curve in curves.items():
    plt.plot(sigmas, curve, ":" if name == "as it is" else "-o", label=name)
plt.axvline(30, color="lightgrey", zorder=0)
plt.xlabel("sigma")
plt.ylabel("PSNR, dB")
plt.legend()
plt.show()

# %% [markdown]
# The first is the better one at its own level, and takes sigma 75 for sigma 30: it leaves colourful noise. The second
# is better there, and pays for it where the first was trained. At sigma 5 both do harm: they cost more detail than
# noise, and the picture is better left as it is. A network takes away the noise that it was trained with, and what
# looks like it.
#
# ## Can it learn without a single clean picture?
#
# In the dark a film counts light: a grain turns white with a probability that is the brightness, and else stays black.
# The network is given the mean of eight such films, and its target is a ninth of the same façade, pure black and white
# in each colour. Beside it are one that has the clean picture as its target, and one that has the films, but the
# absolute error as its loss.


# %%
def film(images, count=1):
    return torch.binomial(torch.full_like(images, count), images) / count


def pairs(target):
    def collate(images):
        clean = torch.stack(images)
        return film(clean, 8), target(clean)

    return DataLoader(train, batch_size=8, shuffle=True, drop_last=True, collate_fn=collate)


# %%
trainings = {"clean, L2": (torch.clone, "l2"), "films, L2": (film, "l2"), "films, L1": (film, "l1")}
dark, ninth = film(test, 8), film(test)
developed = {"eight films": dark, "a ninth": ninth}
for name, (target, loss) in trainings.items():
    model = ImageRegression(data.image_shape, task="paired", **network | {"losses": (loss,)})
    developed[name] = fit(model, train_dataloaders=pairs(target)).translate(dark)

# %%
films = {name: score(made, test) for name, made in developed.items()}
for name, row in films.items():
    print(f"{name:>11}: PSNR {row['psnr']:.1f} dB, SSIM {row['ssim']:.2f}")
show([*developed.values(), test], "; ".join(developed) + "; and the clean picture")

# %% [markdown]
# It can (Lehtinen et al. 2018, "Noise2Noise"). No one can guess the grains of a ninth film; the least squared error
# comes from drawing their mean, and their mean is the picture. So the network draws much better pictures than it was
# given as examples, about as good as the one that was shown clean ones. The absolute error asks for the median
# instead: where more grains are white than black, it is white. The third network has learned that, and draws in black
# and white.
#
# ## What does enlarging bring back?
#
# Of the pictures only a sixteenth of the pixels is left. Nearest repeats them, bicubic interpolation draws a smooth
# surface through them. The network starts from the bicubic picture and draws what it lacks.

# %%
rates = {"learning_rate": 2e-3, "schedule": "linear"}
enlarger = SuperResolution(data.image_shape, scale=4, blocks=2, width=16, reconstruction_loss="l2", **rates)
fit(enlarger)
small = enlarger.degrade(test)
enlarged = {
    "nearest": functional.interpolate(small, test.shape[2:]),
    "bicubic": functional.interpolate(small, test.shape[2:], mode="bicubic"),
    "network": enlarger.translate(small),
}

# %%
enlargements = {name: score(made, test) for name, made in enlarged.items()}
for name, row in enlargements.items():
    print(f"{name:>7}: PSNR {row['psnr']:.1f} dB, SSIM {row['ssim']:.2f}")
show([*enlarged.values(), test], "nearest, bicubic, network; and the original")

# %% [markdown]
# The network draws sharper what all façades have in common: the edge of the roof and the upright walls, though with
# pale stripes in the sky beside them. The crosses of the windows do not come back, nor do the bricks. Here a network
# gains less than it does with noise: of what is lost in the small picture, most cannot be told from it.
#
# ## Why is the best answer blurred?
#
# Many sharp pictures have the same small one. For patches of 16 by 16 pixels of the test pictures we look among the
# patches of the training pictures for those whose four by four means are the most alike. They are what could have been
# there; and what is their mean?


# %%
def patches(images, stride):
    cut = images.unfold(2, 16, stride).unfold(3, 16, stride)
    return cut.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


def shrunk(images):
    return functional.avg_pool2d(images, 4)


def sharpness(images):  # how much neighbours differ; it is printed as a share of the truth's
    return images.diff(dim=-1).abs().mean().item()


# %%
truth, known = patches(test, 16), patches(train, 4)
nearest = torch.cdist(shrunk(truth).flatten(1), shrunk(known).flatten(1)).topk(20, largest=False).indices
could_be = known[nearest]  # 20 for each
mean = could_be.mean(1)
answers = {"one that could be": could_be, "their mean": mean, "network": patches(enlarged["network"], 16)}
blur = {}
for name, made in answers.items():
    target = truth.unsqueeze(1) if made.ndim == 5 else truth
    blur[name] = {"error": (made - target).square().mean().item(), "sharpness": sharpness(made) / sharpness(truth)}
    print(f"{name:>17}: squared error {blur[name]['error']:.4f}, sharpness {blur[name]['sharpness']:.0%}")

# %%
busy = truth.diff(dim=-1).abs().mean((1, 2, 3)).argsort(descending=True)[5::40][:5]
columns = [functional.interpolate(shrunk(truth), 16), truth, *could_be[:, :6].unbind(1), mean, answers["network"]]
rows = torch.stack([column[busy] for column in columns], 1).flatten(0, 1)
show(rows.split(10), "small, the truth, six that could be, the mean of twenty, and the network's", 10)

# %% [markdown]
# Each of the six is as sharp as the truth, and most have the cross in another place. The mean is a façade with a ghost
# of a window, and its squared error is half of theirs: whoever guesses a sharp picture, and guesses wrong, pays twice,
# for the cross that is missing and for the one that should not be there. The squared error asks for the mean, and the
# network answers with something like it. To get a sharp picture, the loss has to ask whether the picture could be one,
# and not how far it is from the one that was. A discriminator asks that, in the next chapter. The error grows by it,
# and the detail that it brings is invented.

# %% [markdown]
# **Exercise.** The films are noise, and their mean is the picture. Let every target film slip by two pixels, to the
# left or to the right by chance (`torch.roll`). What does the network draw now?
#
# <details><summary>Answer</summary>
#
# ```python
# def slipped(images):
#     return torch.stack([film(image).roll(4 * int(torch.rand(()) < 0.5) - 2, -1) for image in images])
#
#
# model = fit(ImageRegression(data.image_shape, task="paired", **network), train_dataloaders=pairs(slipped))
# drawn = model.translate(dark)
# twice = (test.roll(2, -1) + test.roll(-2, -1)) / 2
# double = {"the picture": score(drawn, test)["psnr"], "its double": score(drawn, twice)["psnr"]}
# print(double)
# show([drawn, twice, test], "drawn, the mean of both places, the picture")
# ```
#
# A picture that is smeared sideways, nearer to the mean of both places than to the picture in its own. Without a clean
# target the network learns the mean of its targets, whatever that is. The mean of grains is the picture; the mean of
# what a shaking camera takes is a blurred one.
#
# </details>
