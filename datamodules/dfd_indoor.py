"""Indoor scenes, in and out of focus, with depth."""

from datamodules.depth_pairs import DepthPairsDataModule
from datamodules.errors import DataError
from datamodules.files import Source
from datamodules.folders import default_data_dir


class DFDIndoorDataModule(DepthPairsDataModule):
    """110 indoor images of a single-lens reflex camera with the depth of a sensor (Carvalho, Le Saux et al. 2018).

    Batches are `PairBatch`: float32 metres, 0 where nothing was measured. The official splits have 81 pairs to train
    on and 29 to test with; validation pairs are drawn from the former. Depth is stored in millimetres, 16 bits; an
    image and its depth were taken some milliseconds apart and are paired in the order of their names.

    Args:
        data_dir: folder of all data sets; `rgb` and `depth` lie in `dfd_indoor` under it, with `train` and `test` each.
            None is the environment variable GENMODELS_DATA, else `data`.
        image_size: height and width in pixels that a model sees.
        flip: mirror half of the training pairs.
        rotation: turn training pairs by up to this many degrees either way.
        zoom: enlarge training pairs by up to this factor, 1 or more; depth is divided by it.
        jitter: change brightness, contrast and each colour of training images by up to this share, in [0, 1).
        batch_size: pairs per batch and process.
        num_workers: processes that decode, where there is no cache; a cached split needs none and starts none.
        val_fraction: share of the training pairs held out for validation.
        seed: draws the validation split, the order of the training batches and what changes in them.
        cache: decode and resize every file once, before the first epoch, into a folder of `cache_dir`; False decodes
            in each batch.
        cache_dir: folder of all caches; None is the environment variable GENMODELS_CACHE, else `genmodels` in the
            user's folder of caches. It may be deleted at any time between runs.
        memory_budget: GiB of memory that a split may take in a process, above 0: a cached one that fits is read whole,
            a larger one stays on disk and is mapped.

    Raises:
        DataError: for an option out of its range; for files that are missing or damaged, or pairs that do not fit.
    """

    def __init__(
        self,
        data_dir: str | None = None,
        image_size: tuple[int, int] = (216, 320),
        flip: bool = True,
        rotation: float = 5.0,
        zoom: float = 1.0,
        jitter: float = 0.0,
        batch_size: int = 8,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        seed: int = 0,
        cache: bool = True,
        cache_dir: str | None = None,
        memory_budget: float = 2.0,
    ) -> None:
        super().__init__(
            data_dir=f"{default_data_dir() if data_dir is None else data_dir}/dfd_indoor",
            images="rgb",
            depths="depth",
            pairing="order",
            image_size=image_size,
            flip=flip,
            rotation=rotation,
            zoom=zoom,
            jitter=jitter,
            batch_size=batch_size,
            num_workers=num_workers,
            val_fraction=val_fraction,
            test_fraction=0.0,
            seed=seed,
            cache=cache,
            cache_dir=cache_dir,
            memory_budget=memory_budget,
        )

    def find(self, split: str) -> Source:
        """The pairs' files; see the base class."""
        for name in ("train", "test"):  # the official splits; none is made up
            if not (self.data_dir / self.images / name).is_dir():
                raise DataError(
                    f"{self.data_dir / self.images / name} is no folder; expected the set as published: give the "
                    "folder above dfd_indoor as data_dir."
                )
        return super().find(split)
