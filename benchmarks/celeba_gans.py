"""GANs on CelebA's faces by packaged configurations, scored without a download.

    python benchmarks/celeba_gans.py --data_dir DATA --variants dcgan_celeba wgan_gp_celeba

Each trains through the command line; its best.ckpt draws as many samples as there are test images. The sliced
Wasserstein distance is the mean over resolutions; coverage and density see pixels; MS-SSIM says how alike the samples
are to one another. Beside them: as many training images. Of `conditional_gan_celeba` also, for each of some attributes,
the share of samples whose attribute is as asked for, by a classifier that this trains on the same training images and
whose accuracy on the test images stands beside it.
"""

import argparse
from pathlib import Path

import torch
from packaged import enter, train
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from datamodules import CelebADataModule
from datamodules.celeba import ATTRIBUTES
from lightning_genmodels.metrics import DensityCoverage, PairSimilarity, SlicedWasserstein
from lightning_genmodels.networks.attribute_classifier import AttributeClassifier
from lightning_genmodels.pictures import image_grid, save_png

VARIANTS = ("dcgan_celeba", "wgan_gp_celeba", "conditional_gan_celeba", "stylegan_celeba")
ASKED = ("Male", "Smiling", "Blond_Hair", "Eyeglasses", "Bangs", "Young")
EPOCHS = 15  # of the classifier


def score(fake: Tensor, real: Tensor) -> dict[str, float]:
    """The row of some samples, (N, 3, 64, 64) in [0, 1], against as many images."""
    row = {}
    for metric in (SlicedWasserstein(), DensityCoverage()):
        metric.update(real, real=True)
        metric.update(fake, real=False)
        row |= metric.compute()
    alike = PairSimilarity()
    alike.update(fake)
    row |= alike.compute()
    return {name: value.item() for name, value in row.items()}


def attribute_classifier(images: Tensor, labels: Tensor, device: torch.device) -> nn.Module:
    """Faces (N, 3, 64, 64) in [0, 1] -> (N, attributes) logits, trained on these."""
    classifier = AttributeClassifier((3, 64, 64), labels.shape[1], width=32).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(64):
            batch = images[rows].to(device)
            mirrored = torch.where(torch.rand(len(rows), 1, 1, 1, device=device) < 0.5, batch.flip(3), batch)
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(classifier(mirrored), labels[rows].to(device)).backward()
            optimizer.step()
    return classifier.eval()


@torch.no_grad()
def read(classifier: nn.Module, images: Tensor) -> Tensor:
    """Whether each attribute is there, (N, attributes)."""
    device = next(classifier.parameters()).device
    return torch.cat([classifier(part.to(device)).cpu() > 0 for part in images.split(100)])


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description="GANs on CelebA's faces.")
    parser.add_argument("--data_dir", required=True, help="folder with celeba")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", help="folder of the runs and pictures; a temporary one where none is given")
    options = parser.parse_args()
    data_dir = str(Path(options.data_dir).resolve())
    folder = enter(options.output)
    data = CelebADataModule(data_dir, seed=options.seed, download=False)
    data.setup()
    train_set, test_set = (
        [torch.cat(parts) for parts in zip(*map(data.to_float, loader), strict=True)]
        for loader in (data.train_dataloader(), data.test_dataloader())
    )
    real, labels = test_set
    print("| faces | sliced Wasserstein distance | density | coverage | MS-SSIM | batches | minutes |")
    print("| --- |" + " ---: |" * 6)

    def show(name: str, row: dict[str, float], more: str) -> None:
        columns = ("swd", "density", "coverage", "ms_ssim")
        print(f"| {name} | " + " | ".join(f"{row[column]:.3g}" for column in columns) + f" | {more} |", flush=True)

    show("training images", score(train_set[0][: len(real)], real), "|")
    for name in options.variants:
        run = train(name, options.seed, "--data.data_dir", data_dir)
        generator = torch.Generator().manual_seed(options.seed)
        conditional = name == "conditional_gan_celeba"
        asked = {"labels": labels} if conditional else {}
        fake = run.model.sample(len(real), generator=generator, **asked).cpu()
        save_png(image_grid(fake[:100]), folder / f"{name}.png")
        show(name, score(fake, real), f"{run.steps} | {run.seconds / 60:.1f}")
        if not conditional:
            continue
        torch.manual_seed(options.seed)
        classifier = attribute_classifier(*train_set, run.model.device)
        of_real, of_fake = (read(classifier, images) == (labels > 0.5) for images in (real, fake))
        print("\n| attribute | has it | test images read rightly | samples as asked |\n| --- | ---: | ---: | ---: |")
        places = [ATTRIBUTES.index(attribute) for attribute in ASKED]
        for attribute, place in zip(ASKED, places, strict=True):
            shares = (labels[:, place], of_real[:, place], of_fake[:, place])
            print(f"| {attribute} | " + " | ".join(f"{share.float().mean():.3f}" for share in shares) + " |")
        shares = (labels, of_real, of_fake)
        print("| all forty | " + " | ".join(f"{share.float().mean():.3f}" for share in shares) + " |")
        rows = torch.stack([labels[:10], *(labels[:10].clone() for _ in ASKED)])
        for row, place in enumerate(places, start=1):
            rows[row, :, place] = 1 - rows[row, :, place]
        # In every column the same latent; below the first row one attribute is the other way round.
        turned = [
            run.model.sample(10, labels=row, generator=torch.Generator().manual_seed(options.seed)).cpu()
            for row in rows
        ]
        save_png(image_grid(torch.cat(turned), 10), folder / f"{name}-turned.png")


if __name__ == "__main__":
    main()
