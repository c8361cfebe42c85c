"""Façades that are drawn, with their label maps: one map, many façades."""

import torch
from torch import Tensor

# Classes of a label map, and their colours.
CLASSES = ("sky", "wall", "window", "door", "roof", "ledge")
PALETTE = ((0, 128, 255), (0, 0, 222), (255, 159, 0), (174, 0, 0), (112, 255, 143), (255, 240, 0))
SKY, WALL, WINDOW, DOOR, ROOF, LEDGE = range(len(CLASSES))
BRICKS = ((150, 66, 50), (196, 164, 120), (120, 120, 128), (206, 196, 180))
LIT, DARK = (250, 214, 120), (40, 48, 66)


def draw_label_map(size: int, generator: torch.Generator) -> Tensor:
    """uint8 (size, size): classes of a house of a drawn width, height, and number of storeys and windows."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    unit = size / 64
    labels = torch.full((size, size), SKY, dtype=torch.uint8)
    left, right = round(draw(2, 12) * unit), size - round(draw(2, 12) * unit)
    top = round(draw(8, 22) * unit)
    roof = round(draw(3, 7) * unit)
    labels[top:, left:right] = WALL
    labels[top : top + roof, left:right] = ROOF
    storeys, columns = draw(2, 4), draw(2, 5)
    height, width = (size - top - roof) / storeys, (right - left) / columns
    inner_height, inner_width = height * draw(45, 65) / 100, width * draw(40, 65) / 100
    door = draw(0, columns - 1)
    for storey in range(storeys):
        floor = top + roof + storey * height
        if storey:
            ledge = max(1, round(unit))
            labels[round(floor) : round(floor) + ledge, left:right] = LEDGE
        for column in range(columns):
            start = left + column * width + (width - inner_width) / 2
            columns_of = slice(round(start), round(start + inner_width))
            if storey == storeys - 1 and column == door:
                labels[round(floor + height - inner_height * 1.2) :, columns_of] = DOOR
            else:
                begin = floor + (height - inner_height) / 2
                labels[round(begin) : round(begin + inner_height), columns_of] = WINDOW
    return labels


def render(labels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 (3, H, W): a façade of the label map; the colour of its bricks and which windows are lit are drawn.

    Args:
        labels: uint8 (H, W) classes.
        generator: on the CPU.
    """
    height, width = labels.shape
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    unit = height / 64
    colours = torch.zeros(len(CLASSES), 3)
    colours[SKY] = torch.tensor((170.0, 205.0, 235.0))
    colours[WALL] = torch.tensor(BRICKS[int(torch.randint(len(BRICKS), (), generator=generator))], dtype=torch.float)
    colours[DOOR] = torch.tensor((88.0, 58.0, 40.0))
    colours[ROOF] = torch.tensor((92.0, 70.0, 70.0))
    colours[LEDGE] = colours[WALL] * 0.75 + 60
    picture = colours[labels.long()].permute(2, 0, 1).clone()
    # Courses of bricks, each shifted by half a brick from the one above.
    course = (rows / (2 * unit)).long()
    joint = ((rows / unit) % 2 < 0.5) | (((columns / unit + 2 * (course % 2)) % 4) < 0.5)
    picture[:, (labels == WALL) & joint] *= 0.85
    picture[:, labels == SKY] += (30 * rows / height).expand(height, width)[labels == SKY]
    for window in _windows(labels):
        lit = bool(torch.rand((), generator=generator) < 0.5)
        area = picture[:, window[0], window[1]]
        area[:] = torch.tensor(LIT if lit else DARK, dtype=torch.float).view(3, 1, 1)
        area[:, area.shape[1] // 2] = 230  # the bars of the frame
        area[:, :, area.shape[2] // 2] = 230
    return picture.clamp(0, 255).round().to(torch.uint8)


def _windows(labels: Tensor) -> list[tuple[slice, slice]]:
    """The rectangles of class WINDOW, found by their upper left corners."""
    is_window = labels == WINDOW
    above, left = is_window.clone(), is_window.clone()
    above[1:], above[0] = is_window[:-1], False
    left[:, 1:], left[:, 0] = is_window[:, :-1], False
    found = []
    for row, column in (is_window & ~above & ~left).nonzero().tolist():
        down, across = is_window[row:, column], is_window[row, column:]
        tall = len(down) if down.all() else int((~down).nonzero()[0])
        wide = len(across) if across.all() else int((~across).nonzero()[0])
        found.append((slice(row, row + tall), slice(column, column + wide)))
    return found


def colours_of(labels: Tensor) -> Tensor:
    """uint8 (H, W) classes -> uint8 (3, H, W), each in its colour."""
    return torch.tensor(PALETTE, dtype=torch.uint8)[labels.long()].permute(2, 0, 1)
