"""Pictures of what a model does, in every logger and as files."""

from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.modes import in_eval_mode
from lightning_genmodels.pictures import (
    POINT,
    POINTS,
    Picture,
    bars,
    class_colours,
    depth_panel,
    image_grid,
    in_colours,
    picture_of,
    save_png,
    scatter,
    with_caption,
)

CODES = 2000  # points of the scatter
MANIFOLD = 16  # images a side


class PictureGrid(Callback):
    """Draws after every validation, and at the end of training, what the model's methods allow.

    - "samples" with `sample(n, generator=…)`, from latents that stay the same over the run and after a resume; 2,500
      where an image is a point in the plane;
    - "reconstructions" with `reconstruct(images)`: the first validation images, each with its reconstruction to the
      right; with `corrupt(images, generator=…)` the image, its corrupted version and what is made of that;
    - "translations" with `translate(source, generator=…)`: of the first validation pairs, a quarter of `count`, the
      source, what is made of it, and the target, classes in colours; of a model that makes the pairs itself, those of
      its `pair(batch, generator=…)`; of one with `depth_cap` depth in colours of one scale, and its error;
    - "filters" with `filters()`: what the units of the first layer look for;
    - "codes" with `encode(images)`: the validation images in the plane of their two-dimensional codes, or of the first
      two principal components of longer ones, coloured by label;
    - "manifold" with `encode` and `decode` and a two-dimensional code: the decoder's images over the plane, at
      equally likely places of N(0, I) if the model has `sample`, else over where the codes lie;
    - "activations" with `unit_activations`, (units,) mean activations, and their wanted value `rho`.

    The same uint8 picture goes to Weights & Biases, TensorBoard and a PNG file, at the step of the scalars logged
    meanwhile.

    Args:
        count: images drawn, and filters.
        dirpath: folder of the files `<name>-<step>.png`; None is `pictures` in the run's folder.
        seed: of the latents and the noise.

    Raises:
        GenmodelsError: for a count below 1.
    """

    def __init__(self, count: int = 64, dirpath: str | None = None, seed: int = 0) -> None:
        if count < 1:
            raise GenmodelsError(f"PictureGrid: count is {count}; expected 1 or more.")
        self.count = count
        self.dirpath = dirpath
        self.seed = seed
        self._images: Tensor | None = None
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._codes: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._drawn_step = -1

    def folder(self, trainer: Trainer) -> Path:
        """Where the files lie."""
        return Path(self.dirpath or Path(trainer.log_dir or trainer.default_root_dir, "pictures"))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._codes, self._labels, self._pairs = [], [], []
        self._noise = torch.Generator().manual_seed(self.seed)

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Lightning's hook: keeps the first images, for `reconstruct`, the first pairs, and codes."""
        model: Any = pl_module
        if batch_idx == dataloader_idx == 0 and hasattr(model, "reconstruct"):
            self._images = batch[0][: self.count]
        missing = max(1, self.count // 4) - sum(len(source) for source, _ in self._pairs)
        if hasattr(model, "translate") and missing > 0:
            source, target = model.pair(batch, generator=self._noise) if hasattr(model, "pair") else batch[:2]
            self._pairs.append((source[:missing], target[:missing]))
        if hasattr(model, "encode") and sum(map(len, self._codes)) < CODES:
            self._codes.append(model.encode(batch[0]).cpu())
            self._labels += [batch[1].cpu()] if len(batch) > 1 and isinstance(batch[1], Tensor) else []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, model: LightningModule) -> None:
        folder = self.folder(trainer)  # every process takes part in finding it
        if trainer.global_step != self._drawn_step:
            self._drawn_step = trainer.global_step
            self._draw_on_first(trainer, model, folder)

    @rank_zero_only
    def _draw_on_first(self, trainer: Trainer, model: LightningModule, folder: Path) -> None:
        pictures = {**self._drawn_images(model), **self._drawn_codes(model)}
        step = logged_step(trainer)
        for name, picture in pictures.items():
            save_png(picture, folder / f"{name}-{step:08d}.png")
            logger: Any
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):  # WandbLogger
                    logger.log_image(key=name, images=[picture], step=step)
                elif hasattr(logger.experiment, "add_image"):  # TensorBoardLogger
                    logger.experiment.add_image(name, picture, step, dataformats="HWC")

    def _drawn_images(self, model: Any) -> dict[str, Picture]:
        pictures = {}
        if hasattr(model, "sample"):
            generator = torch.Generator().manual_seed(self.seed)
            points = getattr(model, "image_shape", None) == POINT
            pictures["samples"] = picture_of(model.sample(POINTS if points else self.count, generator=generator))
        if hasattr(model, "reconstruct") and self._images is not None:
            shown = [self._images]
            if hasattr(model, "corrupt"):
                shown.append(model.corrupt(self._images, generator=torch.Generator().manual_seed(self.seed)))
            shown.append(model.reconstruct(shown[-1]))
            pictures["reconstructions"] = _in_groups(shown)
        if self._pairs:
            source, target = (torch.cat(parts) for parts in zip(*self._pairs, strict=True))
            made = model.translate(source, generator=torch.Generator().manual_seed(self.seed))
            if hasattr(model, "depth_cap"):
                shown, scales = depth_panel(source, made, target)
                pictures["translations"] = with_caption(_in_groups(shown), scales)
            else:
                pictures["translations"] = _in_groups([source, made, target])
        if hasattr(model, "filters") and len(filters := model.filters()[: self.count]):
            pictures["filters"] = image_grid(filters if filters.shape[1] in (1, 3) else filters[:, :1])
        return pictures

    def _drawn_codes(self, model: Any) -> dict[str, Picture]:
        pictures = {}
        if self._codes:
            codes = torch.cat(self._codes)[:CODES]
            labels = torch.cat(self._labels)[:CODES] if self._labels else None
            if labels is not None and (labels.ndim != 1 or labels.is_floating_point()):
                labels = None  # not of classes
            pictures["codes"] = scatter(_plane(codes), labels)
            if codes.shape[1] == 2 and hasattr(model, "decode"):
                pictures["manifold"] = image_grid(_manifold(model, codes), MANIFOLD, margin=0)
        if getattr(model, "unit_activations", None) is not None:
            pictures["activations"] = bars(model.unit_activations, model.rho)
        return pictures


def logged_step(trainer: Trainer) -> int:
    """The step of the scalars logged meanwhile: Lightning numbers those of the n-th batch n - 1."""
    return max(trainer.global_step - 1, 0)


def _in_groups(shown: list[Tensor]) -> Picture:
    """A grid of the first images of each batch of N, then of the second ones, and so on; grey as well as coloured."""
    shown = [class_colours(images) if images.ndim == 3 else in_colours(images.cpu()) for images in shown]
    size = max(tuple(images.shape[-2:]) for images in shown)
    shown = [interpolate(images, size) if tuple(images.shape[-2:]) != size else images for images in shown]
    colours = max(images.shape[1] for images in shown)
    groups = torch.stack([images.expand(-1, colours, -1, -1) for images in shown], 1).flatten(0, 1)
    return image_grid(groups, len(shown) * max(1, round(len(groups) ** 0.5 / len(shown))))


def _plane(codes: Tensor) -> Tensor:
    """(N, Z) codes -> (N, 2): themselves, or their first two principal components."""
    if codes.shape[1] == 2:
        return codes
    centred = (codes - codes.mean(0)).double()
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :2]
    axes = torch.where(
        axes.sum(0) < 0, -axes, axes
    )  # else the picture might be mirrored from one validation to the next
    components = centred @ axes
    return torch.nn.functional.pad(components, (0, 2 - components.shape[1]))


@torch.no_grad()
def _manifold(model: Any, codes: Tensor) -> Tensor:
    shares = [(number + 0.5) / MANIFOLD for number in range(MANIFOLD)]
    if hasattr(model, "sample"):
        across = down = torch.tensor([NormalDist().inv_cdf(share) for share in shares])
    else:
        across, down = codes.quantile(torch.tensor([0.02, 0.98]), dim=0).T
        across, down = (torch.linspace(low, high, MANIFOLD) for low, high in (across.tolist(), down.tolist()))
    # As in the scatter: the first coordinate to the right, the second upwards.
    places = torch.cartesian_prod(down.flip(0), across).flip(1)
    with in_eval_mode(model):
        images: Tensor = model.decode(places.to(model.device)).clamp(0, 1)
    return images
