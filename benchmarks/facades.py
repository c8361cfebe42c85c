"""Façades drawn from label maps: can a network that reads photographs read the drawn ones?

    python benchmarks/facades.py --data_dir DATA --output FOLDER

Trains by packaged configurations through the command line: `segmentation_facades`, which reads the twelve classes;
`pix2pix_facades`, which draws; and the same with `adversarial_weight` 0, trained on the absolute error alone. What lies
in FOLDER already is not trained again, so that `--only` can train each on a machine, or at a time, of its own. Then,
on the 106 test pairs: the share of pixels whose class is read rightly, of the photographs and of what is drawn; and the
distance from the photographs; with `--inception` also FID, which published scores have (119.1 of the official weights),
but which needs a download. Beside them: the class that is most frequent, and each pixel's most frequent class.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from packaged import train_once
from torch import Tensor
from torchmetrics.functional.classification import multiclass_jaccard_index

from datamodules import FacadesDataModule
from lightning_genmodels.metrics import FrechetDistance, ImagePSNR, SlicedWasserstein
from lightning_genmodels.pictures import image_grid, save_png

RUNS = {
    "segmentation": ("segmentation_facades",),
    "pix2pix": ("pix2pix_facades",),
    "l1": ("pix2pix_facades", "--model.adversarial_weight", "0"),
}
CLASSES = len(FacadesDataModule.PALETTE)


def split(data: FacadesDataModule, loader: Any) -> tuple[Tensor, Tensor]:
    """All sources and targets of a loader."""
    pairs = [data.to_float(batch) for batch in loader]
    return torch.cat([pair[0] for pair in pairs]), torch.cat([pair[1] for pair in pairs])


def main() -> None:
    """Trains what is not there and prints the table."""
    parser = argparse.ArgumentParser(description="Can a network that reads photographs read drawn façades?")
    parser.add_argument("--data_dir", required=True, help="folder with facades")
    parser.add_argument("--output", required=True, help="folder of the runs and pictures")
    parser.add_argument("--only", choices=list(RUNS), help="train this one, and print no table")
    parser.add_argument(
        "--inception", action="store_true", help="FID by Inception too, of 106 pictures: a download, and torch-fidelity"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data_dir = str(Path(options.data_dir).resolve())
    folder = Path(options.output).resolve()
    runs = {}
    for name in RUNS if options.only is None else (options.only,):
        config, *arguments = RUNS[name]
        runs[name] = train_once(folder / name, config, options.seed, "--data.data_dir", data_dir, *arguments)
    if options.only is not None:
        return

    reading = FacadesDataModule(data_dir, direction="AtoB", labels="classes", batch_size=8, download=False)
    drawing = FacadesDataModule(data_dir, batch_size=8, download=False)
    still = FacadesDataModule(data_dir, direction="AtoB", labels="classes", load_size=256, flip=False, download=False)
    for data in (reading, drawing, still):
        data.setup()
    photos, classes = split(reading, reading.test_dataloader())
    maps, targets = split(drawing, drawing.test_dataloader())
    _, classes_of_training = split(still, still.train_dataloader())
    counts = torch.stack([(classes_of_training == k).sum(0) for k in range(CLASSES)])
    flat = {"the most frequent class": counts.sum((1, 2)).argmax().expand_as(classes),
            "each pixel's most frequent class": counts.argmax(0).expand_as(classes)}  # fmt: skip
    print("\n| pictures | accuracy | of the photographs' | mean IoU | L1 | PSNR | sliced Wasserstein distance |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, read in flat.items():
        print(f"| {name} | {(read == classes).float().mean():.3f} | | | | | |")
    draw = torch.Generator().manual_seed(options.seed)
    drawn = {"photographs": photos} | {
        name: runs[run].model.translate(maps.to(runs[run].model.device), generator=draw).cpu()
        for name, run in (("L1 alone", "l1"), ("pix2pix", "pix2pix"))
    }
    segmenter = runs["segmentation"].model
    of_photographs = 1.0
    for name, pictures in drawn.items():  # the photographs first, whose accuracy is the others' measure
        read = torch.cat([segmenter(part.to(segmenter.device)).cpu() for part in pictures.split(8)])
        accuracy = (read == classes).float().mean().item()
        of_photographs = accuracy if pictures is photos else of_photographs
        iou = multiclass_jaccard_index(read, classes, CLASSES)
        psnr, patches = ImagePSNR(), SlicedWasserstein()
        psnr.update(pictures, targets)
        patches.update(targets, real=True)
        patches.update(pictures, real=False)
        distances = (
            f"{(pictures - targets).abs().mean():.3f} | {psnr.compute():.2f} | {patches.compute()['swd']:.1f}"
            if pictures is not photos
            else "| |"
        )
        print(f"| {name} | {accuracy:.3f} | {accuracy / of_photographs:.2f} | {iou:.3f} | {distances} |")
        if options.inception and pictures is not photos:
            fid = FrechetDistance("inception")
            fid.update(targets, real=True)
            fid.update(pictures, real=False)
            print(f"| {name}, FID by Inception: {fid.compute()['fid_inception']:.1f} |")
    for name, run in runs.items():
        print(f"{name}: {run.steps} batches, {run.seconds / 60:.1f} minutes")
    shown = (maps, drawn["L1 alone"], drawn["pix2pix"], photos)
    save_png(image_grid(torch.stack([part[::18][:6] for part in shown], 1).flatten(0, 1), 4), folder / "facades.png")


if __name__ == "__main__":
    main()
