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
# data = datamodules.NYUDepthDataModule("data", image_size=(48, 64))  # the real set
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
print(len(train_depths), "pictures to train on,", len(depths), "to test with, of the shape", data.image_shape)
low, high = depths.min().item(), depths.max().item()
show(image_grid(torch.cat([images[:8], depth_colours(depths[:8], low, high)]), 8), 14,
     f"pictures and their depth: dark is near ({low:.1f} m), bright is far ({high:.1f} m)")  # fmt: skip

# %% [markdown]
# ## What can one picture not tell?
#
# A room becomes points in space, as its depth says. A second room is the same, but all of it twice as large and twice as
# far away. What does the camera see of either?

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
# The floor is below and near, the wall in the middle and far. The mean of all training maps knows that without looking; a
# network that looks has to be better. *rms* is in metres, *rel* a share of the depth, and *delta1* the share of pixels
# that are right within a quarter.

# %%
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def train(loss):
    seed_everything(0, verbose=False)
    model = DepthEstimation(data.image_shape, width=8, loss=loss, learning_rate=5e-3, schedule="linear")
    Trainer(max_steps=600, max_epochs=-1, limit_val_batches=0, **quiet).fit(model, data)
    return model.cpu().eval()


def errors_of(estimate):
    metric = DepthErrors()
    metric.update(estimate.expand_as(depths), depths)
    return {name: value.item() for name, value in metric.compute().items()}


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
# The mean map is half as wrong as one depth everywhere: most of a room is where rooms have it. The network nearly halves
# that once more. It finds the objects, which no mean can, and how far the wall is, by the size of its squares. Its errors
# (last row) lie on the outlines of near objects: there depth jumps within a pixel, and the estimate goes over softly.

# %% [markdown]
# ## What does a loss weigh?
#
# The slope of a loss is how hard a wrong pixel pulls. For depths that are wrong by -1.5 to 1.5 m, at 2 m and at 6 m:

# %%
wrong = torch.linspace(-1.5, 1.5, 61)
figure, axes = plt.subplots(1, 2, figsize=(12, 3.5), width_ratios=(2, 1.6))
pulls = {}
for loss, colour in (("l1", "C0"), ("berhu", "C1"), ("eigen", "C2")):
    for truth, style in ((2.0, "-"), (6.0, "--")):
        target = torch.full((len(wrong), 1, 1, 1), truth)  # each an image of one pixel
        prediction = (target + wrong.view(-1, 1, 1, 1)).requires_grad_()
        DEPTH_LOSSES[loss](prediction, target).backward()
        pulls[loss, truth] = len(wrong) * prediction.grad.flatten()
        axes[0].plot(wrong, pulls[loss, truth], colour + style, label=f"{loss}, at {truth:.0f} m")
axes[0].set(xlabel="error, m", ylabel="pull", ylim=(-3, 3))
axes[0].legend()

models = {"l1": model, "berhu": train("berhu"), "eigen": train("eigen")}
metres, by_distance = torch.arange(1, 10), {}
for name, trained in models.items():
    estimates[name] = trained.translate(images)
    errors[name] = errors_of(estimates[name])
    off = (estimates[name] - depths).abs()
    by_distance[name] = [off[(depths >= m) & (depths < m + 1)].mean().item() for m in metres]
    axes[1].plot(metres + 0.5, by_distance[name], label=f"{name}, rms {errors[name]['rms']:.2f}")
axes[1].set(xlabel="true depth, m", ylabel="mean absolute error, m", ylim=0)
axes[1].legend()
plt.show()

# %% [markdown]
# TEXT3

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
jump = functional.max_pool2d(depths, 3, 1, 1) + functional.max_pool2d(-depths, 3, 1, 1) > 0.5  # within three pixels
off = (estimates["l1"] - depths).abs()
places = {"outlines": off[jump].mean().item(), "surfaces": off[~jump].mean().item()}
print(
    {name: f"{error:.2f} m" for name, error in places.items()}, f"outlines are {jump.float().mean():.0%} of the pixels"
)

# %% [markdown]
# TEXT4

# %% [markdown]
# ## What does the network look at?
#
# Colours, the place in the picture, the squares that shrink with the distance: each can be taken away, and the error says
# what it was worth. The line is the mean map, which does not look.

# %%
small = functional.avg_pool2d(images, 4)
changed = {
    "as it is": images,
    "mirrored": images.flip(3),
    "grey": images.mean(1, keepdim=True).expand_as(images),
    "upside down": images.flip(2),
    "blurred": functional.interpolate(small, images.shape[2:], mode="bilinear"),
}
back = {"mirrored": 3, "upside down": 2}
cues = {}
for name, pictures in changed.items():
    estimate = model.translate(pictures)
    cues[name] = errors_of(estimate.flip(back[name]) if name in back else estimate)["rms"]
show(
    image_grid(
        torch.cat(
            [
                torch.stack([p[0] for p in changed.values()]),
                depth_colours(torch.stack([model.translate(p[:1])[0] for p in changed.values()]), low, high),
            ]
        ),
        len(changed),
    ),
    12,
    ", ".join(changed),
)
plt.figure(figsize=(8, 2.5))
plt.barh(list(cues), list(cues.values()))
plt.axvline(errors["mean map"]["rms"], color="black", linestyle=":")
plt.gca().invert_yaxis()
plt.xlabel("rms, m")
plt.show()

# %% [markdown]
# TEXT5

# %% [markdown]
# **Exercise.** EX
