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

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # Trainer says its settings at each fit
warnings.filterwarnings("ignore", module="lightning")

data = datamodules.DigitsDataModule()
# data = datamodules.MNISTDataModule("data")  # the real set
data.prepare_data()
data.setup()
real = torch.cat([data.to_float(batch).image for batch in data.train_dataloader()])[:1000]
held_out = torch.cat([data.to_float(batch).image for batch in data.val_dataloader()])[:300]

# %% [markdown]
# ## Where does each loss leave the generator a gradient?
#
# The generator learns from the slope of its loss in the discriminator's verdict on a sample: a logit, negative where the
# sample was found out. How steep is it there, and where the sample passed?

# %%
names = ("minimax", "non_saturating", "least_squares", "wasserstein")
logits = torch.linspace(-6, 6, 121)
slopes = {}
for name in names:
    verdict = logits.clone().requires_grad_()
    loss = ADVERSARIAL_LOSSES[name].generator(verdict, None) * len(verdict)  # of a mean
    (gradient,) = torch.autograd.grad(loss, verdict)
    slopes[name] = -gradient
    plt.plot(logits, slopes[name], label=name)
    print(
        f"{name:>14}: {slopes[name][0]:6.3f} where it was found out (-6), {slopes[name][-1]:6.3f} where it passed (6)"
    )
plt.gca().set(xlabel="logit of a sample", ylabel="pull towards a higher logit")
plt.legend()
plt.show()

# %% [markdown]
# The game as it was first written, *minimax*, saturates: a sample that was found out has no gradient to learn from. The
# *non-saturating* loss pulls at those, and leaves alone what has passed. *Least squares* pulls the harder the further a
# sample's verdict is from 1, from either side. *Wasserstein* pulls evenly.

# %% [markdown]
# ## What is left of the gradient when the discriminator is too good?
#
# We leave an untrained generator as it is, train the discriminator alone for 150 batches, and look at the gradient that
# the generator would get (after Arjovsky and Bottou 2017).

# %%
left = {}
for name in names:
    seed_everything(0, verbose=False)
    model, loss = GAN(data.image_shape), ADVERSARIAL_LOSSES[name]
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=5e-4)
    left[name] = []
    for _ in range(150):
        digits = 2 * real[torch.randint(len(real), (64,))] - 1
        samples = model.generator(torch.randn(64, model.latent_dim))
        verdict = model.discriminator(samples)
        gradient = torch.autograd.grad(loss.generator(verdict, None), samples, retain_graph=True)[0]
        left[name].append(gradient.flatten(1).norm(dim=1).mean().item() * len(samples))
        samples = samples.detach()
        cost = loss.discriminator(model.discriminator(digits), model.discriminator(samples))
        if name == "wasserstein":
            cost = cost + 10 * gradient_penalty(model.discriminator, digits, samples)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    plt.semilogy(left[name], label=name)
    print(f"{name:>14}: {left[name][0]:.2g} at first, {left[name][-1]:.2g} at the end")
plt.gca().set(xlabel="batches of the discriminator alone", ylabel="gradient at a sample")
plt.legend()
plt.show()

# %% [markdown]
# Of minimax nothing is left. The non-saturating loss pulls harder and harder, but in no steady measure. Least squares
# keeps some. Wasserstein's critic, with its slope held near 1, gives the same pull however good it is: it may be trained
# as far as one likes.

# %% [markdown]
# ## What do squares do to a sample that has passed?
#
# Real points (black) lie at the right, generated ones (grey) at the left, and a discriminator learns them apart. Then new
# points (green) start behind the real ones, where every verdict is "real", and follow the gradient of the generator's
# loss to where the arrows lead.

# %%
spot = datamodules.RingDataModule(modes=1, sigma=0.05, batch_size=256)
spot.setup()
points = spot.to_points(next(iter(spot.train_dataloader())).image)
line = torch.linspace(-1.5, 1.5, 13)
places = torch.cartesian_prod(line, line)
start = torch.tensor([1.4, 0.0]) + 0.05 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
figure, axes = plt.subplots(1, 2, figsize=(10, 5))
moved = {}


def pull(model, points):
    """Where the generator's loss sends points, of the plane that the discriminator sees."""
    seen = (2 * spot.to_images(points) - 1).requires_grad_()
    loss = model.loss.generator(model.discriminator(seen), None) * len(seen)
    return -torch.autograd.grad(loss, seen)[0].flatten(1)


for axis, name in zip(axes, ("non_saturating", "least_squares"), strict=True):
    seed_everything(0, verbose=False)
    model = GAN(spot.image_shape, adversarial_loss=name)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3)
    right, left_side = (2 * spot.to_images(points * torch.tensor([side, 1.0])) - 1 for side in (1, -1))
    for _ in range(300):
        cost = model.loss.discriminator(model.discriminator(right), model.discriminator(left_side))
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    now = start
    for _ in range(300):
        now = now + 0.02 * pull(model, now)
    moved[name] = (now - torch.tensor([1.0, 0.0])).norm(dim=1).mean().item()
    axis.quiver(*places.T, *pull(model, places).T, color="silver")
    for where, colour in (
        (points, "black"),
        (points * torch.tensor([-1.0, 1.0]), "grey"),
        (start, "lightgreen"),
        (now, "green"),
    ):
        axis.scatter(*where.T, s=6, color=colour)
    axis.set(title=name, xlim=(-1.5, 2.2), ylim=(-1.5, 1.5), aspect="equal")
print({name: round(value, 2) for name, value in moved.items()}, "from the middle of the data;", "0.40 at the start")
plt.show()

# %% [markdown]
# The log loss hardly moves them: they have passed, and its arrows vanish on their side. Least squares brings them back to
# where the verdict is 1, which is where the data lie; along that line it does not move them.

# %% [markdown]
# ## How is the critic's slope bounded, by clipped weights or by a penalty?
#
# The critic's verdicts measure Wasserstein's distance only if its slope is bounded. Arjovsky et al. clip every weight to
# [-0.01, 0.01] after each step; Gulrajani et al. penalise slopes other than 1 instead. What becomes of the weights?

# %%
kinds = {
    "log loss": {"penalty": "none"},
    "clipped": {"penalty": "weight_clipping", "penalty_weight": 0.01, "betas": (0.0, 0.99)},
    "penalised": {"penalty": "gradient_penalty", "penalty_weight": 10.0, "penalty_interval": 1, "betas": (0.5, 0.9)},
}


def study(steps=2000, **options):
    """Trains on digits; gives the model and, of each 50th batch, the discriminator's distance and Fréchet's."""
    distances, errors = [], []

    def look(trainer, model, *_):
        if trainer.global_step % 50 == 0:
            samples = model.sample(len(held_out))
            with torch.no_grad():
                loss = model.loss.discriminator(*(model.discriminator(2 * x - 1) for x in (held_out, samples))).item()
            critic = options.get("adversarial_loss") == "wasserstein"
            distances.append(-loss if critic else math.log(2) - loss / 2)  # Wasserstein's, or Jensen and Shannon's
            frechet = FrechetDistance("pixels")
            frechet.update(held_out, real=True)
            frechet.update(samples, real=False)
            errors.append(frechet.compute()["fid_pixels"].item())

    seed_everything(0, verbose=False)
    model = GAN(data.image_shape, ema_decay=0.99, **options)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_steps=steps, limit_val_batches=0, enable_model_summary=False, **quiet,
                      callbacks=[LambdaCallback(on_train_batch_end=look)])  # fmt: skip
    trainer.fit(model, data)
    return model.eval(), torch.tensor(distances), torch.tensor(errors)


# %%
runs = {"log loss": study(**kinds["log loss"])}
for name in ("clipped", "penalised"):
    runs[name] = study(adversarial_loss="wasserstein", discriminator_steps=5, **kinds[name])

figure, axes = plt.subplots(1, 2, figsize=(10, 3))
critics = {}
for axis, name in zip(axes, ("clipped", "penalised"), strict=True):
    model = runs[name][0]
    weights = torch.cat([weight.detach().flatten() for weight in model.discriminator.parameters()])
    between = (2 * real[:300] - 1).lerp(2 * model.sample(300) - 1, torch.rand(300, 1, 1, 1))
    slope = squared_slopes(model.discriminator, between).detach().sqrt()
    critics[name] = {"at the bound": (weights.abs() > 0.0099).float().mean().item(), "slope": slope.mean().item(),
                     "spread of slopes": (slope.std() / slope.mean()).item()}  # fmt: skip
    axis.hist(weights, bins=100, range=(-0.2, 0.2) if name == "penalised" else (-0.012, 0.012))
    axis.set_title(f"weights, {name}")
    print(f"{name:>9}: slope {critics[name]['slope']:.3f}, give or take {critics[name]['spread of slopes']:.0%}")
print(f"{critics['clipped']['at the bound']:.0%} of the clipped weights are at the bound")
plt.show()

# %% [markdown]
# SECTION4
#
# %% [markdown]
# ## Does the discriminator's loss tell how good the samples are?
#
# From either loss one can read a distance between digits and samples: from the critic's Wasserstein's, from the log loss
# that of Jensen and Shannon. We take both on held-out digits, beside the Fréchet distance of their pixels, which falls as
# samples get better.

# %%
figure, axes = plt.subplots(1, 3, figsize=(14, 3.5))
agreement = {}
batches = range(50, 2001, 50)
for axis, name in zip(axes, ("log loss", "penalised"), strict=False):
    _, distances, errors = runs[name]
    agreement[name] = torch.corrcoef(torch.stack([distances, errors.log()]))[0, 1].item()
    axis.plot(batches, distances / distances.abs().max(), label="discriminator's distance")
    axis.plot(batches, errors / errors.max(), label="Fréchet distance")
    axis.set(title=f"{name}: correlation {agreement[name]:.2f}", xlabel="batch")
    axis.legend()
plt.show()
scores = {}
for name, (model, *_) in runs.items():
    samples = model.sample(len(real))
    scores[name] = {}
    for metric in (PrecisionRecall(k=5), DensityCoverage(k=5)):
        metric.update(real, real=True)
        metric.update(samples, real=False)
        scores[name] |= {key: value.item() for key, value in metric.compute().items()}
    print(name, scores[name], runs[name][2][-1])
