"""ConditionalGAN: generation of what labels ask for."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.losses.adversarial import AdversarialLossName
from lightning_genmodels.losses.penalties import PenaltyName
from lightning_genmodels.models.base import ScheduleName
from lightning_genmodels.models.gan import GAN
from lightning_genmodels.models.interpolation import latent_path
from lightning_genmodels.models.labels import as_vectors, check_labels, labels_of
from lightning_genmodels.models.ranges import to_unit
from lightning_genmodels.networks.conditional import (
    AuxiliaryDiscriminator,
    ConcatenationDiscriminator,
    LabelledGenerator,
    ProjectionDiscriminator,
)
from lightning_genmodels.networks.normalization import normalize_spectrum
from lightning_genmodels.networks.pairs import NetworkName

ConditioningName = Literal["concatenation", "projection", "auxiliary"]
REMEMBERED = 512  # labels of training images, or more, that samples without labels of their own take in turn


class ConditionalGAN(GAN):
    """A GAN whose images are of a class, or have attributes, that one asks for (Mirza and Osindero 2014).

    A batch has the images first, float (N, C, H, W) in [0, 1], and their labels second: classes, int64 (N,), or
    attributes, floating point (N, L) in [0, 1]. The generator is given the labels behind the latent; what the
    discriminator does with them is `conditioning`. All else is as in `GAN`.

    Args:
        image_shape: (C, H, W).
        label_names: names of the classes, in the order of their numbers, or of the attributes. On the command line they
            are the data's.
        conditioning: "projection": the inner product of the features with a vector of the labels is added to the logit
            (Miyato and Koyama 2018); "concatenation": each label is a channel beside the image's (Mirza and Osindero
            2014); "auxiliary": a second output tells the labels from the image, which both networks are trained for
            (Odena et al. 2017).
        auxiliary_weight: weight of that second loss, with "auxiliary".
        latent_dim: length of z.
        network: "mlp" for any size; "dcgan" and "resnet" for squares of 16, 28, 32, 64 or 128 pixels.
        generator_batch_norm: normalise in the generator over the batch. Its noise is wider than the modes of points in
            the plane, which are found without.
        spectral_norm: divide the weights of each of the discriminator's layers, but an auxiliary classifier's, by their
            largest singular value.
        adversarial_loss: "minimax", "non_saturating", "least_squares", "wasserstein", "hinge" or "relativistic".
        penalty: on the discriminator: "none", "weight_clipping", "gradient_penalty", "dragan", "r1", "r2" or "r1_r2",
            as in `GAN`.
        penalty_weight: the penalty's weight; or the bound that weights are clipped to, after every step.
        penalty_interval: a penalty on the gradient is taken on every n-th batch only, n times as strong.
        learning_rate: Adam's step size for both networks.
        generator_learning_rate: the generator's own; None takes `learning_rate`.
        discriminator_learning_rate: the discriminator's own; None takes `learning_rate`.
        betas: Adam's two decay rates.
        schedule: "none", or "linear": down to zero from `decay_start` on.
        decay_start: share of the training after which "linear" begins, in [0, 1).
        gradient_clip: largest norm of each network's gradient; 0 does not clip.
        accumulate: parts into which a batch is split, to save memory.
        discriminator_steps: the generator is trained on every n-th batch only.
        generator_steps: generator steps on such a batch, with fresh latents after the first.
        ema_decay: decay per generator step of the averaged generator, which samples are drawn with; 0 keeps none.
        score_count: images that are scored at most in a validation or test, the first ones, in all processes together,
            6 or more; the time it takes grows with its square, and its pixels are held on the device.

    Raises:
        GenmodelsError: for an option out of its range, or an image size that the network cannot make; in training,
            for images or labels out of their range or of another shape, and for a loss that is not finite.
    """

    recent_labels: Tensor
    labels_are_attributes: Tensor

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        label_names: tuple[str, ...] = tuple("0123456789"),
        conditioning: ConditioningName = "projection",
        auxiliary_weight: float = 1.0,
        latent_dim: int = 64,
        network: NetworkName = "mlp",
        generator_batch_norm: bool = True,
        spectral_norm: bool = False,
        adversarial_loss: AdversarialLossName = "non_saturating",
        penalty: PenaltyName = "r1",
        penalty_weight: float = 0.1,
        penalty_interval: int = 16,
        learning_rate: float = 5e-4,
        generator_learning_rate: float | None = None,
        discriminator_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.5, 0.999),
        schedule: ScheduleName = "none",
        decay_start: float = 0.5,
        gradient_clip: float = 0.0,
        accumulate: int = 1,
        discriminator_steps: int = 1,
        generator_steps: int = 1,
        ema_decay: float = 0.999,
        score_count: int = 10_000,
    ) -> None:
        if not label_names:
            raise GenmodelsError("ConditionalGAN: label_names is empty; expected 1 name or more.")
        if conditioning not in get_args(ConditioningName):
            raise GenmodelsError(
                f"ConditionalGAN: conditioning is {conditioning!r}; expected one of "
                f"{', '.join(get_args(ConditioningName))}."
            )
        if not auxiliary_weight >= 0:
            raise GenmodelsError(f"ConditionalGAN: auxiliary_weight is {auxiliary_weight}; expected 0 or more.")
        # The networks, which the base class builds, depend on them.
        self.label_names = tuple(label_names)
        self.conditioning = conditioning
        self.auxiliary_weight = auxiliary_weight
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            network=network,
            generator_batch_norm=generator_batch_norm,
            spectral_norm=spectral_norm,
            adversarial_loss=adversarial_loss,
            penalty=penalty,
            penalty_weight=penalty_weight,
            penalty_interval=penalty_interval,
            learning_rate=learning_rate,
            generator_learning_rate=generator_learning_rate,
            discriminator_learning_rate=discriminator_learning_rate,
            betas=betas,
            schedule=schedule,
            decay_start=decay_start,
            gradient_clip=gradient_clip,
            accumulate=accumulate,
            discriminator_steps=discriminator_steps,
            generator_steps=generator_steps,
            ema_decay=ema_decay,
            score_count=score_count,
        )
        self.hparams.pop("packing")  # an option of the base class alone
        # Each class in turn, until training has seen labels that are attributes.
        count = len(self.label_names)
        self.register_buffer("recent_labels", torch.eye(count).repeat(-(-REMEMBERED // count), 1))
        self.register_buffer("labels_are_attributes", torch.zeros(()))  # 1 once they are

    def build_generator(self) -> nn.Module:
        """(N, latent_dim) and (N, L) labels -> (N, C, H, W) in [-1, 1]."""
        size = self.latent_dim + len(self.label_names)
        return LabelledGenerator(self.make_generator(size))

    def build_discriminator(self) -> nn.Module:
        """(N, C, H, W) in [-1, 1] and (N, L) labels -> (N,) logits."""
        channels, height, width = self.image_shape
        count = len(self.label_names)
        if self.conditioning == "concatenation":
            return ConcatenationDiscriminator(self.make_discriminator((channels + count, height, width)))
        network = self.make_discriminator(self.image_shape)
        if self.conditioning == "auxiliary":
            return AuxiliaryDiscriminator(network, count)
        made = ProjectionDiscriminator(network, count)
        if self.spectral_norm:
            normalize_spectrum(made.embedding)
        return made

    # Training

    def condition(self, batch: Any) -> tuple[Tensor, ...]:
        """The batch's labels, (N, L)."""
        return (as_vectors(labels_of(batch), len(self.label_names)),)

    def check_batch(self, batch: Any) -> None:
        """Raises GenmodelsError for images or labels that the model cannot be trained on."""
        super().check_batch(batch)
        check_labels(labels_of(batch), len(self.label_names))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """As every GAN's; it remembers attributes for samples to come."""
        super().training_step(batch, batch_idx)
        labels = labels_of(batch)
        if labels.is_floating_point():
            recent = torch.cat([labels.to(self.recent_labels), self.recent_labels])
            self.recent_labels.copy_(recent[: len(self.recent_labels)])
            self.labels_are_attributes.fill_(1)

    def discriminator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """Also, with an auxiliary classifier, its loss on real and generated images."""
        terms = super().discriminator_loss(batch, fake)
        if self.conditioning == "auxiliary":
            both = self._label_loss(self.real_images(batch), batch) + self._label_loss(fake, batch)
            terms["discriminator_labels"] = self.auxiliary_weight * both
        return terms

    def generator_loss(self, batch: Any, fake: Tensor) -> dict[str, Tensor]:
        """Also, with an auxiliary classifier, its loss on generated images."""
        terms = super().generator_loss(batch, fake)
        if self.conditioning == "auxiliary":
            terms["generator_labels"] = self.auxiliary_weight * self._label_loss(fake, batch)
        return terms

    def _label_loss(self, images: Tensor, batch: Any) -> Tensor:
        """Cross-entropy in nats: of classes, or the mean over attributes."""
        discriminator: Any = self.discriminator
        labels, logits = labels_of(batch), discriminator.classify(images).float()
        if labels.is_floating_point():
            return functional.binary_cross_entropy_with_logits(logits, labels.float())
        return functional.cross_entropy(logits, labels)

    # Use

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]  # of what, beside where from
        """(N, latent_dim) latents and N labels -> (N, C, H, W) images in [0, 1], by the averaged generator as it is."""
        return to_unit(self.averaged_generator(z, self._wanted(len(z), labels)))

    @torch.no_grad()
    def sample(self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draws n images by the averaged generator in eval mode.

        Args:
            n: how many, 0 or more.
            labels: what they shall be: classes, int64 (n,), or attributes, floating point (n, L) in [0, 1]. None takes
                each class in turn, or the attributes of images that were trained on lately.
            generator: source of the latents; one on the CPU gives the same latents on every device.

        Returns:
            (n, C, H, W) float32 in [0, 1], on the model's device.

        Raises:
            GenmodelsError: for a negative n, or labels out of their range or of another length.
        """
        if n < 0:
            raise GenmodelsError(f"sample: n is {n}; expected 0 or more.")
        return self._draw(self._latents(n, generator), self._wanted(n, labels))

    @torch.no_grad()
    def interpolate(self, z0: Tensor, z1: Tensor, steps: int, *, labels: Tensor | None = None) -> Tensor:
        """The images along the great circle from one latent to another, of the same labels.

        Args:
            z0: (N, latent_dim) latents.
            z1: the same shape.
            steps: images along the way, 2 or more, both ends included.
            labels: N of them, as in `sample`.

        Returns:
            (N, steps, C, H, W) in [0, 1].

        Raises:
            GenmodelsError: for latents of different shapes or another length, fewer than 2 steps, or labels as above.
        """
        path = latent_path(z0, z1, steps, self.latent_dim)
        wanted = self._wanted(len(path), labels).repeat_interleave(steps, 0)
        images: Tensor = self._draw(path.flatten(0, 1), wanted).unflatten(0, path.shape[:2])
        return images

    def labels_named(self, name: str, n: int) -> Tensor:
        """(n, L) labels for `sample`, by their name.

        Args:
            name: of a class, or its number. Or of an attribute: the labels are those of images that were trained on
                lately, but with it, or, after "no-", without it.
            n: how many.

        Raises:
            GenmodelsError: for a name that there is not.
        """
        without = name.startswith("no-") and name not in self.label_names
        bare = name.removeprefix("no-") if without else name
        attributes = bool(self.labels_are_attributes)
        known = [*self.label_names, *([] if attributes else map(str, range(len(self.label_names))))]
        if bare not in known or (without and not attributes):
            more = ", or no-NAME" if attributes else ""
            raise GenmodelsError(
                f"ConditionalGAN: {name} is no label; expected one of {', '.join(self.label_names)}{more}."
            )
        number = known.index(bare) % len(self.label_names)
        if not attributes:
            return torch.eye(len(self.label_names))[number].expand(n, -1)
        labels = self._wanted(n, None).clone()
        labels[:, number] = float(not without)
        return labels

    def _wanted(self, n: int, labels: Tensor | None) -> Tensor:
        """(n, L)."""
        if labels is None:
            return self.recent_labels.repeat(-(-n // len(self.recent_labels)), 1)[:n]
        if not isinstance(labels, Tensor):
            raise GenmodelsError(f"ConditionalGAN: labels are of {type(labels).__name__}; expected a tensor.")
        if labels.shape[:1] != (n,):
            raise GenmodelsError(
                f"ConditionalGAN: labels of the shape {tuple(labels.shape)} for {n} images; expected as many."
            )
        check_labels(labels, len(self.label_names))
        if not labels.is_floating_point() and self.labels_are_attributes:
            raise GenmodelsError(
                f"ConditionalGAN: labels are {labels.dtype}, of classes, but the model was trained on attributes; "
                f"expected floating point ({n}, {len(self.label_names)})."
            )
        return as_vectors(labels.to(self.device), len(self.label_names))

    def _sample_like(self, batch: Any) -> Tensor:
        return self.sample(len(batch[0]), labels=labels_of(batch), generator=self.scores.noise)
