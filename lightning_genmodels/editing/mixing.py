"""Style mixing (Karras et al. 2018): the coarse layers of one image, the fine ones of another."""

from typing import Any

import torch
from torch import Tensor

from lightning_genmodels.editing.styles import draw_styles, images_of
from lightning_genmodels.errors import GenmodelsError


def mix(coarse: Tensor, fine: Tensor, crossover: int, layers: int) -> Tensor:
    """Styles for each layer: those below the crossover are of the coarse source, the others of the fine one.

    Args:
        coarse: (N, Z) styles.
        fine: the same shape.
        crossover: the first layer of the fine source, 0 to L: 0 takes all of it, L nothing.
        layers: L, how many layers take a style.

    Returns:
        (N, L, Z).

    Raises:
        GenmodelsError: for styles of other or different shapes, or a crossover out of its range.
    """
    if coarse.ndim != 2 or coarse.shape != fine.shape:
        raise GenmodelsError(
            f"mix: the styles have the shapes {tuple(coarse.shape)} and {tuple(fine.shape)}; expected (N, Z), the same "
            "of both."
        )
    if not 0 <= crossover <= layers:
        raise GenmodelsError(f"mix: crossover is {crossover}; expected 0 to {layers}, the number of layers.")
    below = torch.arange(layers, device=coarse.device)[:, None] < crossover  # (L, 1)
    return torch.where(below, coarse[:, None], fine[:, None])


def mixing_grid(
    model: Any,
    rows: int,
    columns: int,
    crossover: int,
    *,
    generator: torch.Generator | None = None,
    truncation: float = 1.0,
) -> Tensor:
    """The paper's figure of style mixing: each row has one coarse source, each column one fine source.

    The first row shows the fine sources and the first column the coarse ones; the corner is white. All are without
    noise.

    Args:
        model: a StyleGAN.
        rows: coarse sources, 1 or more.
        columns: fine sources, 1 or more.
        crossover: as of `mix`.
        generator: source of the latents, on the CPU, the coarse ones first.
        truncation: of all sources.

    Returns:
        ((rows + 1) (columns + 1), C, S, S) in [0, 1], row by row.

    Raises:
        GenmodelsError: for fewer than 1 row or column, or a crossover out of its range.
    """
    if rows < 1 or columns < 1:
        raise GenmodelsError(f"mixing_grid: rows are {rows} and columns {columns}; expected 1 or more of each.")
    coarse, fine = draw_styles(model, rows + columns, generator, truncation).split([rows, columns])
    mixed = mix(coarse.repeat_interleave(columns, 0), fine.repeat(rows, 1), crossover, model.style_layers)
    lines = torch.cat([images_of(model, coarse)[:, None], images_of(model, mixed).unflatten(0, (rows, columns))], 1)
    heads = images_of(model, fine)
    first = torch.cat([torch.ones_like(heads[:1]), heads])
    return torch.cat([first[None], lines]).flatten(0, 1)
