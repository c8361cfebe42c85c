"""What one does with a generator of styles, while it is trained and after: samples, truncation, paths, scores."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.models.base import AdversarialModel
from lightning_genmodels.models.checks import checked_images
from lightning_genmodels.models.interpolation import latent_path
from lightning_genmodels.models.ranges import to_unit
from lightning_genmodels.models.scoring import SampleScores
from lightning_genmodels.networks.style import StyleGenerator

SAMPLES_AT_ONCE = 64


class StyleSampling(AdversarialModel):
    """The half of `StyleGAN` that does not train. All is drawn by the averaged generator, where there is one."""

    generator: StyleGenerator
    generator_ema: StyleGenerator | None
    image_shape: tuple[int, int, int]
    latent_dim: int
    scores: SampleScores

    def _latents(self, n: int, generator: torch.Generator | None) -> Tensor:
        device = self.device if generator is None else generator.device
        latents = torch.randn(n, self.latent_dim, generator=generator, device=device)
        return latents.to(next(self.averaged_generator.parameters()))

    def forward(self, z: Tensor) -> Tensor:
        """(N, latent_dim) latents -> (N, C, S, S) images around [0, 1], not clamped, without noise."""
        return self.synthesize(self.styles(z))

    @property
    def averaged_generator(self) -> StyleGenerator:
        """The generator to draw samples with, which is the average where there is one."""
        return self.generator if self.generator_ema is None else self.generator_ema

    @property
    def style_layers(self) -> int:
        """L, how many layers take a style, two for each size."""
        return len(self.generator.synthesis.layers)

    @property
    def style_average(self) -> Tensor:
        """(latent_dim,), the mean style."""
        return self.averaged_generator.style_average

    def styles(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """(N, latent_dim) latents -> (N, latent_dim) styles, with a graph.

        `truncation` is how far a style lies from the mean one, as a share of its way: 0 gives the mean. It is of all
        layers; the pictures of Karras et al. (2018) truncate the first eight. GenmodelsError where it is not finite.
        """
        if not math.isfinite(truncation):
            raise GenmodelsError(f"truncation is {truncation}; expected a share, such as 0.7.")
        return self.averaged_generator.styles(z, truncation)

    def synthesize(self, styles: Tensor, noises: list[Tensor] | None = None) -> Tensor:
        """(N, latent_dim) or (N, L, latent_dim) styles -> (N, C, S, S) images around [0, 1], not clamped, with a graph.

        `noises` are of `draw_noises`; None adds none.
        """
        images: Tensor = self.averaged_generator(styles, noises)
        return to_unit(images.float())

    def draw_noises(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """(n, 1, H, W) for each layer, on the generator's device."""
        return self.averaged_generator.synthesis.draw_noises(n, generator)

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None, truncation: float = 1.0) -> Tensor:
        """Draws n images.

        Args:
            n: how many, 0 or more.
            generator: source of latents and noise; one on the CPU gives the same on every device.
            truncation: below 1, images nearer to the mean one: more typical, and less varied. 0 gives the mean image,
                but for the noise.

        Returns:
            (n, C, S, S) float32 in [0, 1], on the model's device.

        Raises:
            GenmodelsError: for a negative n, or a truncation that is not finite.
        """
        if n < 0:
            raise GenmodelsError(f"sample: n is {n}; expected 0 or more.")
        styles = self.styles(self._latents(n, generator), truncation)
        generator = generator or torch.Generator(self.device).manual_seed(int(torch.randint(2**62, ())))
        made = [self.synthesize(part, self.draw_noises(len(part), generator)) for part in styles.split(SAMPLES_AT_ONCE)]
        return torch.cat(made).clamp(0, 1)

    @torch.no_grad()
    def interpolate(self, z0: Tensor, z1: Tensor, steps: int, *, truncation: float = 1.0) -> Tensor:
        """The images along the great circle from one latent to another, without noise.

        Args:
            z0: (N, latent_dim) latents.
            z1: the same shape.
            steps: images along the way, 2 or more, both ends included.
            truncation: as of `sample`.

        Returns:
            (N, steps, C, S, S) in [0, 1].

        Raises:
            GenmodelsError: for latents of different shapes or another length, or fewer than 2 steps.
        """
        path = latent_path(z0, z1, steps, self.latent_dim)
        styles = self.styles(path.flatten(0, 1), truncation)
        made = [self.synthesize(part) for part in styles.split(SAMPLES_AT_ONCE)]
        images: Tensor = torch.cat(made).clamp(0, 1).unflatten(0, path.shape[:2])
        return images

    # Validation, test, prediction

    def on_validation_epoch_start(self) -> None:
        """Lightning's hook: the same draws at every validation."""
        self.scores.begin(self)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collects the images and as many samples."""
        self.scores.update(checked_images(batch, self.image_shape), lambda: self.predict_step(batch, batch_idx))

    def on_validation_epoch_end(self) -> None:
        """Logs `val/precision`, `val/recall`, `val/density` and `val/coverage`."""
        self.scores.log(self, "val")

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def on_test_epoch_end(self) -> None:
        """Logs the same four under `test/`."""
        self.scores.log(self, "test")

    on_predict_epoch_start = on_validation_epoch_start

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """As many samples as the batch has images, (N, C, S, S) in [0, 1]."""
        return self.sample(len(batch[0]), generator=self.scores.noise)
