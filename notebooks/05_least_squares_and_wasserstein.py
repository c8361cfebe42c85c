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
# # 5. Least squares and Wasserstein
#
# *Moindres carrés et distance de Wasserstein*
#
# The game between generator and discriminator leaves open by which loss the two are judged. Three choices are compared
# here: the logarithms of the first GAN, squares, and the distance of Wasserstein. What differs is what the generator is
# told when it is far behind, and what the losses say to us.

# %%
import logging
import math
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import LambdaCallback

import datamodules
from lightning_genmodels import GAN
from lightning_genmodels.losses.adversarial import ADVERSARIAL_LOSSES
from lightning_genmodels.losses.penalties import gradient_penalty, squared_slopes
from lightning_genmodels.metrics import DensityCoverage, FrechetDistance, PrecisionRecall
from lightning_genmodels.pictures import image_grid

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
quiet |= {"accelerator": "cpu", "limit_val_batches": 0}  # networks so small are no faster on a GPU

data = datamodules.DigitsDataModule()
# data = datamodules.MNISTDataModule()  # the real set
data.prepare_data()
data.setup()
real = torch.cat([data.to_float(batch).image for batch in data.train_dataloader()])[:1000]
held_out = torch.cat([data.to_float(batch).image for batch in data.val_dataloader()])[:300]


def step(optimizer, cost):
    optimizer.zero_grad()
    cost.backward()
    optimizer.step()


# %% [markdown]
# ## Where does each loss leave the generator a gradient?
#
# The generator learns from the slope of its loss in the discriminator's verdict on a sample: the lower, the surer it
# was found out. Each loss has a scale of its own: with the logarithms 0 is undecided, least squares wants 0 for
# samples and 1 for real images, and for Wasserstein only differences count. How steep is it far down, and far up?

# %%
names = ("minimax", "non_saturating", "least_squares", "wasserstein")
logits = torch.linspace(-6, 6, 121)
slopes = {}
for name in names:
    verdict = logits.clone().requires_grad_()
    loss = ADVERSARIAL_LOSSES[name].generator(verdict, None) * len(verdict)  # of a mean
    (gradient,) = torch.autograd.grad(loss, verdict)
    slopes[name] = -gradient
    ends = slopes[name][0], slopes[name][-1]
    print(f"{name:>14}: {ends[0]:6.3f} where it was found out (-6), {ends[1]:6.3f} where it passed (6)")

# %%
for name in names:
    plt.plot(logits, slopes[name], label=name)
plt.gca().set(xlabel="verdict on a sample", ylabel="pull towards a higher verdict")
plt.legend()
plt.show()

# %% [markdown]
# The game as it was first written, *minimax*, saturates: a sample that was found out has no gradient to learn from.
# The *non-saturating* loss pulls at those, and leaves alone what has passed. *Least squares* pulls the harder the
# further a sample's verdict is from 1, from either side. *Wasserstein* pulls evenly.

# %% [markdown]
# ## What is left of the gradient when the discriminator is too good?
#
# We leave an untrained generator as it is, train the discriminator alone for 150 batches, and look at the gradient
# that the generator would get (after Arjovsky and Bottou 2017).


# %%
def gradients_while_it_learns(name):
    """How strong the gradient at a sample is, of each batch of the discriminator."""
    seed_everything(0, verbose=False)
    model, loss = GAN(data.image_shape), ADVERSARIAL_LOSSES[name]
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=5e-4)
    norms = []
    for _ in range(150):
        digits = 2 * real[torch.randint(len(real), (64,))] - 1
        samples = model.generator(torch.randn(64, model.latent_dim))
        verdict = model.discriminator(samples)
        gradient = torch.autograd.grad(loss.generator(verdict, None), samples, retain_graph=True)[0]
        norms.append(gradient.flatten(1).norm(dim=1).mean().item() * len(samples))
        samples = samples.detach()
        cost = loss.discriminator(model.discriminator(digits), model.discriminator(samples))
        if name == "wasserstein":
            cost = cost + 10 * gradient_penalty(model.discriminator, digits, samples)
        step(optimizer, cost)
    return norms


# %%
left = {name: gradients_while_it_learns(name) for name in names}
for name in names:
    plt.semilogy(left[name], label=name)
    print(f"{name:>14}: {left[name][0]:.2g} at first, {left[name][-1]:.2g} at the end")
plt.gca().set(xlabel="batches of the discriminator alone", ylabel="gradient at a sample")
plt.legend()
plt.show()

# %% [markdown]
# Of minimax nothing is left. The non-saturating loss pulls harder and harder, but in no steady measure. Least squares
# keeps some. Wasserstein's critic, with its slope held near 1, gives the same pull however good it is: it may be
# trained as far as one likes.

# %% [markdown]
# ## What do squares do to a sample that has passed?
#
# Real points (black) lie at the right, generated ones (grey) at the left, and a discriminator learns them apart. Then
# new points (light green) start behind the real ones, where all are taken for real, and follow the gradient of the
# generator's loss (arrows; short where there is next to none) to where it leads (dark green).

# %%
spot = datamodules.RingDataModule(modes=1, sigma=0.05, batch_size=256)
spot.setup()
points = spot.to_points(next(iter(spot.train_dataloader())).image)
mirror = torch.tensor([-1.0, 1.0])
start = torch.tensor([1.4, 0.0]) + 0.05 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
line = torch.linspace(-1.4, 1.4, 15)
places = torch.cartesian_prod(line, line)


# %%
def pull(model, points):
    """Where the generator's loss sends points of the plane."""
    seen = (2 * spot.to_images(points) - 1).requires_grad_()
    loss = model.loss.generator(model.discriminator(seen), None) * len(seen)
    return -torch.autograd.grad(loss, seen)[0].flatten(1)


# %%
models = {}
for name in ("non_saturating", "least_squares"):
    seed_everything(0, verbose=False)
    model = models[name] = GAN(spot.image_shape, adversarial_loss=name)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3)
    for _ in range(300):
        verdicts = (model.discriminator(2 * spot.to_images(side) - 1) for side in (points, points * mirror))
        step(optimizer, model.loss.discriminator(*verdicts))

# %%
after = {}
for name, model in models.items():
    after[name] = start
    for _ in range(300):
        after[name] = after[name] + 0.02 * pull(model, after[name])
behind = {name: (now[:, 0] - 1).mean().item() for name, now in after.items()}

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 5))
for axis, (name, now) in zip(axes, after.items(), strict=True):
    arrows = pull(models[name], places)
    axis.quiver(*places.T, *(arrows / (arrows.norm(dim=1, keepdim=True) + 0.02)).T, color="silver")
    for where, colour in ((points, "black"), (points * mirror, "grey"), (start, "yellowgreen"), (now, "darkgreen")):
        axis.scatter(*where.T, s=6, color=colour)
    axis.set(title=f"{name}: {behind[name]:.2f} behind the data", xlim=(-1.5, 1.8), ylim=(-1.5, 1.5), aspect="equal")
plt.show()

# %% [markdown]
# The log loss leaves them where they are: they have passed. Least squares brings them back to where the verdict is 1,
# which is where the data lie: what Mao et al. (2017) mean by samples that are pulled towards the data.

# %% [markdown]
# ## How is the critic's slope bounded, by clipped weights or by a penalty?
#
# The critic's verdicts measure Wasserstein's distance only if its slope is bounded. Arjovsky et al. (2017) clip every
# weight to [-0.01, 0.01] after each step; Gulrajani et al. (2017) penalise slopes other than 1 instead. What becomes
# of the weights? Beside them a GAN with the log loss; each discriminator has five steps for one of its generator.

# %%
critic = {"adversarial_loss": "wasserstein"}
kinds = {
    "log loss": {"adversarial_loss": "non_saturating", "penalty": "none"},
    "clipped": critic | {"penalty": "weight_clipping", "penalty_weight": 0.01, "betas": (0.0, 0.99)},
    "penalised": critic | {"penalty": "gradient_penalty", "penalty_weight": 10.0, "penalty_interval": 1},
}


# %%
def study(discriminator_steps=5, **options):
    """Trains on digits; gives the model and, of each 50th batch, the discriminator's distance and Fréchet's."""
    distances, errors = [], []

    def look(trainer, model, *_):
        if trainer.global_step % 50 == 0:
            samples = model.sample(len(held_out))
            with torch.no_grad():
                loss = model.loss.discriminator(*(model.discriminator(2 * x - 1) for x in (held_out, samples))).item()
            of_wasserstein = options["adversarial_loss"] == "wasserstein"
            distances.append(-loss if of_wasserstein else math.log(2) - loss / 2)  # else of Jensen and Shannon
            frechet = FrechetDistance("pixels")
            frechet.update(held_out, real=True)
            frechet.update(samples, real=False)
            errors.append(frechet.compute()["fid_pixels"].item())

    seed_everything(0, verbose=False)
    model = GAN(data.image_shape, discriminator_steps=discriminator_steps, ema_decay=0.99, **options)
    Trainer(max_steps=2000, callbacks=[LambdaCallback(on_train_batch_end=look)], **quiet).fit(model, data)
    return model.eval(), torch.tensor(distances), torch.tensor(errors)


# %%
runs = {name: study(**options) for name, options in kinds.items()}
weights, critics = {}, {}
for name in ("clipped", "penalised"):
    model = runs[name][0]
    weights[name] = torch.cat([weight.detach().flatten() for weight in model.discriminator.parameters()])
    between = (2 * real[:300] - 1).lerp(2 * model.sample(300) - 1, torch.rand(300, 1, 1, 1))
    slope = squared_slopes(model.discriminator, between).sqrt().mean().item()
    critics[name] = {"slope": slope, "at the bound": (weights[name].abs() > 0.0099).float().mean().item()}
print(f"{critics['clipped']['at the bound']:.0%} of the clipped weights are at the bound")

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 3))
for axis, name in zip(axes, critics, strict=True):
    axis.hist(weights[name], bins=100, range=(-0.012, 0.012) if name == "clipped" else (-0.2, 0.2))
    axis.set_title(f"weights, {name}; slope between digits and samples {critics[name]['slope']:.2f}")
plt.show()

# %% [markdown]
# Clipping drives weights to either bound and leaves a slope of a few hundredths, which depends on the bound and on how
# many layers there are; with it go the scale of the distance and of all that the generator learns from. The penalty
# leaves the weights free, and the slope is near 1 where samples have to go.

# %% [markdown]
# ## Does the discriminator's loss tell how good the samples are?
#
# From either loss one can read a distance between digits and samples: from the critic's the one of Wasserstein, from
# the log loss the one of Jensen and Shannon, which is ln 2 = 0.69 at most. Here they are on held-out digits, beside
# Fréchet's distance of the pixels, which falls as samples get better.

# %%
fallen = {}
for name in ("log loss", "penalised"):
    _, distances, errors = runs[name]
    fallen[name] = {"its distance": (distances[9] / distances[0]).item(), "Fréchet's": (errors[9] / errors[0]).item()}
    print(f"{name:>9}: from batch 50 to 500 " + ", ".join(f"{key} to {v:.0%}" for key, v in fallen[name].items()))

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 3.5))
for axis, name in zip(axes, fallen, strict=True):
    for label, values in zip(("of the discriminator", "of Fréchet"), runs[name][1:], strict=True):
        axis.plot(range(50, 2001, 50), values / values[0], label=label)
    axis.set(title=name, xlabel="batch", ylabel="distance, of the first one", ylim=(0, 1.3))
    axis.legend()
plt.show()


# %%
def score(model):
    scores, samples = {}, model.sample(len(real))
    for metric in (PrecisionRecall(k=5), DensityCoverage(k=5)):
        metric.update(real, real=True)
        metric.update(samples, real=False)
        scores |= {key: value.item() for key, value in metric.compute().items()}
    return scores


scores = {name: score(model) for name, (model, *_) in runs.items()}
for name in kinds:
    print(f"{name:>9}: precision {scores[name]['precision']:.2f}, coverage {scores[name]['coverage']:.2f}")

# %%
plt.figure(figsize=(12, 4))
plt.imshow(image_grid(torch.cat([model.sample(40) for model, *_ in runs.values()]), columns=20))
plt.title("two rows each: " + ", ".join(runs))
plt.axis("off")
plt.show()

# %% [markdown]
# In the first 500 batches the samples get several times better. The critic's distance falls with them; that of Jensen
# and Shannon stays high, for a good discriminator tells bad samples from digits as surely as worse ones. So of a
# Wasserstein GAN one may watch the loss. At the end, after no more than 400 steps of each generator, samples are rough
# still: the penalised critic's cover more of the digits than the clipped one's.

# %% [markdown]
# **Exercise.** Train on digits with least squares and with the log loss, one step of the discriminator for each of the
# generator. Which verdicts do digits and samples get, and which loss gives the better scores?
#
# <details><summary>Answer</summary>
#
# ```python
# figure, axes = plt.subplots(1, 2, figsize=(12, 3))
# verdicts, found = {}, {}
# for axis, name in zip(axes, ("non_saturating", "least_squares"), strict=True):
#     model, *_ = study(discriminator_steps=1, adversarial_loss=name, penalty="none")
#     with torch.no_grad():
#         verdicts[name] = [model.discriminator(2 * images - 1) for images in (real, model.sample(len(real)))]
#     for kind, values in zip(("digits", "samples"), verdicts[name], strict=True):
#         axis.hist(values, bins=60, range=(-5, 5), alpha=0.6, label=kind)
#     axis.set_title(name)
#     axis.legend()
#     found[name] = score(model)
#     print(f"{name}: precision {found[name]['precision']:.2f}, coverage {found[name]['coverage']:.2f}")
# plt.show()
# ```
#
# With the log loss verdicts spread to both sides of 0; with least squares they lie between 0, which it calls generated,
# and 1, which it calls real. Either discriminator still prefers digits, but the two heaps overlap: many samples pass.
# The scores are alike, and better than above: the generator has taken five times as many steps.
#
# </details>
