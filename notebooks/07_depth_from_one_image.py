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
# # 7. Depth from one image
#
# *Estimation de la profondeur à partir d'une seule image*
#
# Two pictures from two places give depth by geometry. One picture gives none: what is left is what rooms usually look
# like, and that can be learned from pictures whose depth was measured.

# %%
import logging
import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.nn import functional

import datamodules
from lightning_genmodels import DepthEstimation
from lightning_genmodels.losses.depth import DEPTH_LOSSES
from lightning_genmodels.metrics import DepthErrors
from lightning_genmodels.pictures import camera_of, depth_colours, depth_panel, image_grid, points_of, seen_from, turn

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
seed_everything(0, verbose=False)

data = datamodules.DepthScenesDataModule(image_size=(48, 64), batch_size=8)
# data = datamodules.NYUDepthDataModule(image_size=(48, 64))  # the real set
data.prepare_data()
data.setup()


def gather(loader):
    images, depths = zip(*(data.to_float(batch) for batch in loader), strict=True)
    return torch.cat(images), torch.cat(depths)


def show(picture, width=10, title=""):
    plt.figure(figsize=(width, width * picture.shape[0] / picture.shape[1] + 0.4))
    plt.imshow(picture)
    plt.title(title)
    plt.axis("off")
    plt.show()


(_, train_depths), (images, depths) = gather(data.train_dataloader()), gather(data.test_dataloader())
print("pictures:", data.lengths(), "of the shape", data.image_shape)
low, high = depths.min().item(), depths.max().item()
show(image_grid(torch.cat([images[:8], depth_colours(depths[:8], low, high)]), 8), 14,
     f"pictures and their depth: dark is near ({low:.1f} m), bright is far ({high:.1f} m)")  # fmt: skip

# %% [markdown]
# ## What can one picture not tell?
#
# A room becomes points in space, as its depth says. A second room is the same, but all of it twice as large and twice
# as far away. What does the camera see of either?

# %%
camera = camera_of(data.image_size, field_of_view=60)
points, colours = points_of(depths[0], images[0], camera)
middle = points[:, 2].median().item()
room = seen_from(points, colours, 0, camera, data.image_size, middle)
twice = seen_from(2 * points, colours, 0, camera, data.image_size, 2 * middle)
same = bool((room == twice).all())
print(f"Depths differ by {depths[0].mean():.1f} m on average; are the two pictures equal? {same}")
show(np.concatenate([room, twice], 1), 8, "the room, and one of twice its size")

# %% [markdown]
# The same picture, to the last pixel: nothing in it tells large and far from small and near. That a ceiling is three
# metres up and not six is no measurement but experience. A network can have it from examples, and then it holds for
# rooms like those.

# %% [markdown]
# ## Is it worth looking at the picture?
#
# The floor is below and near, the wall in the middle and far. The mean of all training maps knows that without
# looking; a network that looks has to be better. *rms* is in metres, *rel* a share of the depth, and *delta1* the
# share of pixels that are right within a quarter.

# %%
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def train(loss):
    seed_everything(0, verbose=False)
    model = DepthEstimation(data.image_shape, width=8, loss=loss, learning_rate=5e-3, schedule="linear")
    Trainer(max_steps=500, max_epochs=-1, limit_val_batches=0, **quiet).fit(model, data)
    return model.cpu().eval()


def errors_of(estimate):
    metric = DepthErrors()
    metric.update(estimate.expand_as(depths), depths)
    return {name: value.item() for name, value in metric.compute().items()}


# %%
model = train("l1")
mean_map = train_depths.mean(0)
estimates = {"one depth": train_depths.mean(), "mean map": mean_map, "network": model.translate(images)}
errors = {name: errors_of(estimate) for name, estimate in estimates.items()}
for name, row in errors.items():
    print(f"{name:>10}: rms {row['rms']:.2f} m, rel {row['rel']:.2f}, delta1 {row['delta1']:.2f}")
rows, caption = depth_panel(images[:8], estimates["network"][:8], depths[:8])
rows.insert(1, depth_colours(mean_map.expand(8, -1, -1, -1), low, high))
show(image_grid(torch.cat(rows), 8), 14, f"picture, mean map, estimate, measured, error; {caption}")

# %% [markdown]
# The mean map is half as wrong as one depth everywhere: most of a room is where rooms have it. The network takes off
# another third. It finds the near objects, of which the mean has no trace, and sees that some walls are farther than
# others. Its errors, in the last row, lie on the objects and most of all on their outlines: there the depth jumps from
# one pixel to the next, and the estimate goes over softly.

# %% [markdown]
# ## What does a loss weigh?
#
# The slope of a loss is how hard a wrong pixel pulls. For depths that are wrong by -1.5 to 1.5 m, at 2 m and at 6 m:

# %%
wrong = torch.linspace(-1.5, 1.5, 61)
pulls = {}
for loss in ("l1", "berhu", "eigen"):
    for truth in (2.0, 6.0):
        target = torch.full((len(wrong), 1, 1, 1), truth)  # each an image of one pixel
        prediction = (target + wrong.view(-1, 1, 1, 1)).requires_grad_()
        DEPTH_LOSSES[loss](prediction, target).backward()
        pulls[loss, truth] = len(wrong) * prediction.grad.flatten()

# %%
models = {"l1": model, "berhu": train("berhu"), "eigen": train("eigen")}
metres, by_distance = torch.arange(1, 9), {}
for name, trained in models.items():
    estimates[name] = trained.translate(images)
    errors[name] = errors_of(estimates[name])
    off = (estimates[name] - depths).abs()
    by_distance[name] = [off[(depths >= m) & (depths < m + 1)].mean().item() for m in metres]

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3))
for loss, axis in zip(models, axes, strict=True):
    for truth, style in ((2.0, "-"), (6.0, "--")):
        axis.plot(wrong, pulls[loss, truth], style, label=f"at {truth:.0f} m")
    axis.set(title=f"pull of {loss}", xlabel="error, m")
    axis.legend()
plt.show()

# %%
plt.figure(figsize=(5, 3))
for name, error in by_distance.items():
    plt.plot(metres + 0.5, error, label=f"{name}, rms {errors[name]['rms']:.2f}")
plt.gca().set(title="error of three networks, m", xlabel="true depth, m", ylim=0)
plt.legend()
plt.show()

# %% [markdown]
# L1 pulls all alike, however wrong they are and wherever. berHu does so up to a fifth of the batch's largest error, and
# beyond it pulls the harder the more is wrong. Eigen compares logarithms: the same small error pulls nine times as hard
# at 2 m as at 6 m, and too near is worse than too far. (It also forgives half of an error that a whole picture shares.)
# The second figure is of three networks that differ in nothing else. Where eigen pulls, it helps: things nearer than 2
# m are read much better by it than by L1. Over all pixels the three differ little.

# %% [markdown]
# ## Is it a room, or only a map?
#
# From where the picture was taken, any depth shows the picture again. So the camera goes to the side: on the left the
# measured depth, on the right the estimated one.

# %%
shown = []
for number in (0, 2, 3):
    turned = []
    for depth in (depths[number], estimates["l1"][number]):
        points, colours = points_of(depth, images[number], camera)
        frames = turn(points, colours, camera, data.image_size)
        turned += [frames[18], frames[0], frames[6]]  # from the left, as it was taken, from the right
    shown.append(np.concatenate(turned, 1))
show(np.concatenate(shown), 14, "measured: from the left, as taken, from the right; and estimated, likewise")

# %%
farthest, nearest = functional.max_pool2d(depths, 3, 1, 1), -functional.max_pool2d(-depths, 3, 1, 1)
jump = farthest - nearest > 1  # a metre, within three pixels
off = (estimates["l1"] - depths).abs()
places = {"outlines": off[jump].mean().item(), "surfaces": off[~jump].mean().item()}
print(f"wrong by {places['outlines']:.2f} m on outlines, {jump.float().mean():.0%} of the pixels, "
      f"and by {places['surfaces']:.2f} m elsewhere")  # fmt: skip

# %% [markdown]
# From the middle nothing can be told, as the first section has it. From the sides, floor and wall stand as they do
# where they were measured: that is what all rooms have in common. A measured box stands upright, and hides a part of
# the wall, which stays black. An estimated one leans back or is torn between itself and what is behind it, and nothing
# is hidden: the soft outlines are bridges. On the outlines the error is twice what it is elsewhere.

# %% [markdown]
# ## What does the network look at?
#
# Colours, the place in the picture, the squares that shrink with the distance: each can be taken away, and the error
# says what it was worth. The line is the mean map, which does not look.

# %%
small = functional.avg_pool2d(images, 4)
changed = {
    "as it is": images,
    "mirrored": images.flip(3),
    "grey": images.mean(1, keepdim=True).expand_as(images),
    "upside down": images.flip(2),
    "blurred": functional.interpolate(small, images.shape[2:], mode="bilinear"),
}

# %%
back = {"mirrored": 3, "upside down": 2}
cues = {}
for name, pictures in changed.items():
    estimate = model.translate(pictures)
    cues[name] = errors_of(estimate.flip(back[name]) if name in back else estimate)["rms"]

# %%
first = torch.cat([pictures[:1] for pictures in changed.values()])
read = depth_colours(model.translate(first), low, high)
show(image_grid(torch.cat([first, read]), len(changed)), 12, ", ".join(changed) + "; and what the network reads")
plt.figure(figsize=(8, 2.5))
plt.barh(list(cues), list(cues.values()))
plt.axvline(errors["mean map"]["rms"], color="black", linestyle=":")
plt.gca().invert_yaxis()
plt.xlabel("rms, m")
plt.show()

# %% [markdown]
# Colours are worth nothing here, and left and right are alike (half of the training pictures are mirrored). Upside
# down, and without the squares, the network is worse than one that does not look. What is below it takes for the
# floor; and a wall without squares seems to be quite near, which suggests that it reads distance off their size.
# The exercise asks for that more strictly. It knows these rooms, and no geometry.

# %% [markdown]
# **Exercise.** Cut the middle out of each picture and enlarge it to the picture's size, by a zoom of 1.25 and of 1.5.
# The depth of what is seen has not changed. What does the network say, and what would you have expected?
#
# <details><summary>Answer</summary>
#
# ```python
# def zoomed(maps, zoom):
#     size = [round(side / zoom) for side in maps.shape[2:]]
#     top, left = [(side - cut) // 2 for side, cut in zip(maps.shape[2:], size, strict=True)]
#     part = maps[:, :, top : top + size[0], left : left + size[1]]
#     return functional.interpolate(part, maps.shape[2:], mode="bilinear")
#
#
# ratios = {}
# for zoom in (1, 1.25, 1.5):
#     ratios[zoom] = (model.translate(zoomed(images, zoom)) / zoomed(depths, zoom)).median().item()
#     print(f"zoom {zoom}: {ratios[zoom]:.2f} of the depth; 1 / zoom is {1 / zoom:.2f}")
# ```
#
# What is 1.25 times as large is taken to be nearly 1.25 times as near. Sizes are all that the network has, and to
# those a longer lens is the same as a step forward: the first section again. Whoever trains on pictures of several
# cameras has to account for their lenses.
#
# </details>
