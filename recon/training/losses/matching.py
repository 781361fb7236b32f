"""Losses of descriptors: the one of the same surface point in another view is to be the nearest of all.

InfoNCE (van den Oord et al. 2018, equation 4): cross entropy of the true match among candidates, with the scalar
products of unit descriptors, times a constant, as logits. Points that the other view does not see do not count.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from recon.training.batch import Batch
from recon.training.correspondences import (
    Correspondences,
    cyclic_partners,
    find_correspondences,
    look_up,
    of_partner,
    pixel_centres,
)
from recon.training.losses.dense import masked_mean

Size = tuple[int, int]
"""Rows and columns, or height and width."""

COARSE_SHARPNESS = 18.0
FINE_SHARPNESS = 20.0
PATCH = (2, 4)
"""Rows and columns of fine cells of which one at random is matched."""

WINDOW = 8
"""Rows and columns of fine cells in which a match is told from all its neighbours."""


def size_of(maps: Tensor) -> Size:
    """Rows and columns of ``[S,V,h,w,...]``."""
    return maps.shape[2], maps.shape[3]


# --- coarse: cell to cell ------------------------------------------------------------------------------------------


def cell_centres(size: Size, grid: Size, device: torch.device) -> Tensor:
    """``[rows * columns] long``: the pixel right below each cell's centre, as ``row * width + column``."""
    (height, width), (rows, columns) = size, grid
    row = torch.arange(rows, device=device) * (height // rows) + height // rows // 2
    column = torch.arange(columns, device=device) * (width // columns) + width // columns // 2
    return (row[:, None] * width + column).flatten()


def coarse_correspondences(batch: Batch, grid: Size, partner: Tensor | None = None) -> Correspondences:
    """The centres of a grid's cells in all views, each view's in its ``partner [S,V]``, by default a cyclic one."""
    scenes, views, height, width = batch.depth.shape
    centres = cell_centres((height, width), grid, batch.depth.device)
    partner = cyclic_partners(scenes, views, batch.depth.device) if partner is None else partner
    return find_correspondences(batch, partner, centres.expand(scenes, views, -1))


def cell_of(position: Tensor, size: Size, grid: Size) -> Tensor:
    """``[...] long``: the cell ``row * columns + column`` in which ``position [...,2]`` (x, y, in pixels) lies."""
    (height, width), (rows, columns) = size, grid
    column = (position[..., 0] * (columns / width)).long().clamp(0, columns - 1)
    row = (position[..., 1] * (rows / height)).long().clamp(0, rows - 1)
    return row * columns + column


def coarse_matching(descriptors: Tensor, found: Correspondences, target: Tensor) -> Tensor:
    """Each cell of a view against all cells of its partner.

    Args:
        descriptors: ``[S,V,h,w,C]`` unit length.
        found: of the cells' centres.
        target: ``[S,V,h*w] long``, the partner's cell in which each centre is seen.
    """
    cells = descriptors.float().flatten(2, 3)
    logits = COARSE_SHARPNESS * torch.einsum("svnc,svmc->svnm", cells, of_partner(cells, found.partner))
    loss = logits.logsumexp(-1) - logits.gather(-1, target[..., None])[..., 0]
    return masked_mean(loss, found.visible)


# --- fine: samples to samples, and to the neighbours ----------------------------------------------------------------


def sample_pixels(scenes: int, views: int, size: Size, grid: Size, device: torch.device) -> Tensor:
    """``[S,V,K] long``: a random cell of every patch of `PATCH` cells, and a random one of the pixels around its
    centre, as ``row * width + column``; patch by patch, row by row."""
    (height, width), (rows, columns) = size, grid
    down, across = rows // PATCH[0], columns // PATCH[1]
    chosen = torch.rand(4, scenes, views, down, across, device=device)
    row = torch.arange(down, device=device)[:, None] * PATCH[0] + (chosen[0] * PATCH[0]).long()
    column = torch.arange(across, device=device) * PATCH[1] + (chosen[1] * PATCH[1]).long()
    tall, wide = height // rows, width // columns
    y = row * tall + (tall - 1) // 2 + (chosen[2] * (2 - tall % 2)).long()
    x = column * wide + (wide - 1) // 2 + (chosen[3] * (2 - wide % 2)).long()
    return (y * width + x).flatten(2)


def fine_correspondences(batch: Batch, grid: Size, partner: Tensor | None = None) -> Correspondences:
    """`sample_pixels` of a grid in all views, each view's in its ``partner [S,V]``, by default a cyclic one."""
    scenes, views, height, width = batch.depth.shape
    source = sample_pixels(scenes, views, (height, width), grid, batch.depth.device)
    partner = cyclic_partners(scenes, views, batch.depth.device) if partner is None else partner
    return find_correspondences(batch, partner, source)


def bilinear(descriptors: Tensor, partner: Tensor, position: Tensor) -> Tensor:
    """Unit descriptors ``[S,V,K,C]`` between the cells of ``[S,V,h,w,C]``, at ``position [S,V,K,2]`` (x, y) in cells
    of each view's partner."""
    rows, columns = descriptors.shape[2:4]
    cells = descriptors.flatten(2, 3)
    position = position - 0.5
    corner = position.floor()
    share = position - corner
    mixed = torch.zeros((), device=descriptors.device)
    for right in (0, 1):
        for below in (0, 1):
            column = (corner[..., 0].long() + right).clamp(0, columns - 1)
            row = (corner[..., 1].long() + below).clamp(0, rows - 1)
            weight = (share[..., 0] if right else 1 - share[..., 0]) * (share[..., 1] if below else 1 - share[..., 1])
            mixed = mixed + weight[..., None] * look_up(cells, partner, row * columns + column)
    return functional.normalize(mixed, dim=-1)


def fine_matching(descriptors: Tensor, found: Correspondences, size: Size) -> Tensor:
    """Both ways between sampled cells of a view and their places in its partner.

    From the view: among the places of all other samples in the partner, less those within a cell. From the partner:
    among all cells of the window of 8 x 8 cells around the right one, and the sampled cells of all other windows.

    Args:
        descriptors: ``[S,V,h,w,C]`` unit length.
        found: of `fine_correspondences`.
        size: height and width of the image in pixels.
    """
    scenes, views, rows, columns = descriptors.shape[:4]
    cells = descriptors.float()
    position = found.position * cells.new_tensor([columns / size[1], rows / size[0]])
    there = bilinear(cells, found.partner, position)  # [S,V,K,C]
    own = torch.arange(views, device=cells.device).expand(scenes, views)
    cell = cell_of(pixel_centres(found.source, size[1]), size, (rows, columns))
    here = look_up(cells.flatten(2, 3), own, cell)

    logits = FINE_SHARPNESS * torch.einsum("svkc,svlc->svkl", here, there)
    itself = torch.eye(cell.shape[-1], dtype=torch.bool, device=cells.device)
    apart = (position[..., :, None, :] - position[..., None, :, :]).abs().amax(-1) > 1
    lowest = torch.finfo(logits.dtype).min / 2
    candidates = torch.where(itself | (apart & found.visible[..., None, :]), logits, lowest)
    forward = candidates.logsumexp(-1) - FINE_SHARPNESS * (here * there).sum(-1)

    window = window_of((rows, columns), cells.device)
    elsewhere = torch.where(window[:, None] != window, logits, lowest).logsumexp(-2)
    near, right = window_logits(cells, there, cell)
    backward = torch.logaddexp(near.logsumexp(-1), elsewhere) - right
    return masked_mean((forward + backward) / 2, found.visible)


def window_of(grid: Size, device: torch.device) -> Tensor:
    """``[K] long``: the window in which each patch of `sample_pixels` lies."""
    rows, columns = grid
    row = torch.arange(rows // PATCH[0], device=device) // (WINDOW // PATCH[0])
    column = torch.arange(columns // PATCH[1], device=device) // (WINDOW // PATCH[1])
    return (row[:, None] * columns + column).flatten()


def window_logits(cells: Tensor, there: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of ``there [S,V,K,C]`` against all cells of the window, ``[S,V,K,64]``, and against ``cell``, ``[S,V,K]``.

    One product of matrices a window, without copying neighbourhoods: samples come patch by patch.
    """
    rows, columns = cells.shape[2:4]
    down, across = -(-rows // WINDOW), -(-columns // WINDOW)
    patches = (WINDOW // PATCH[0], WINDOW // PATCH[1])
    grid = there.unflatten(2, (rows // PATCH[0], columns // PATCH[1]))
    grid = pad(grid, down * patches[0], across * patches[1])
    queries = split(grid, *patches)  # [S,V,down,across,8,C]
    candidates = split(pad(cells, down * WINDOW, across * WINDOW), WINDOW, WINDOW)  # [S,V,down,across,64,C]
    logits = FINE_SHARPNESS * torch.einsum("svyxkc,svyxlc->svyxkl", queries, candidates)
    exists = split(pad(torch.ones_like(cells[:1, :1, :, :, :1]), down * WINDOW, across * WINDOW), WINDOW, WINDOW)
    logits = torch.where(exists[..., None, :, 0] > 0, logits, torch.finfo(logits.dtype).min / 2)
    logits = rearrange(logits, "s v y x (r c) l -> s v (y r) (x c) l", r=patches[0])
    logits = logits[:, :, : rows // PATCH[0], : columns // PATCH[1]].flatten(2, 3)
    inside = cell // columns % WINDOW * WINDOW + cell % columns % WINDOW
    return logits, logits.gather(-1, inside[..., None])[..., 0]


def pad(grid: Tensor, rows: int, columns: int) -> Tensor:
    """``[S,V,h,w,C]`` with zeros below and to the right, to ``rows`` and ``columns``."""
    return functional.pad(grid, (0, 0, 0, columns - grid.shape[3], 0, rows - grid.shape[2]))


def split(grid: Tensor, rows: int, columns: int) -> Tensor:
    """``[S,V,h,w,C]`` in tiles of ``rows x columns``."""
    return rearrange(grid, "s v (y r) (x c) d -> s v y x (r c) d", r=rows, c=columns)
