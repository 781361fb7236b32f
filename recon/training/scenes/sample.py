"""Batches of procedural scenes: worlds, cameras in them, light, photographs; normalised, ready to learn from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TypeVar

import torch
from torch import Tensor

from recon.training.batch import Batch
from recon.training.scenes.atlas import Atlas, make_atlas
from recon.training.scenes.cameras import candidate_cameras
from recon.training.scenes.covisibility import choose_views
from recon.training.scenes.layout import make_world
from recon.training.scenes.photo import photograph
from recon.training.scenes.render import cast_depth, render
from recon.training.scenes.world import Cameras, World

_FAR = 60.0
_LEAST_KNOWN = 0.1
_LONGEST_WAY = 6.0
_BATCHES_PER_ATLAS = 1024
_SCENES_AT_ONCE = 256
# Of the pictures by which views are chosen: about the rays that the renderer casts for a view at least.
_LOW_RESOLUTION = (36, 48)

Parts = TypeVar("Parts")
Key = TypeVar("Key")
Made = TypeVar("Made")


@dataclass
class Pool:
    """Many scenes with the cameras chosen in them.

    Attributes:
        world: P scenes.
        cameras: V in each, any first few of which overlap.
        good: ``[P,V] bool``, False for cameras that are no use.
    """

    world: World
    cameras: Cameras
    good: Tensor


class ProceduralScenes:
    """An endless supply of batches. Every batch is a function of the seed, its index and its shape alone.

    On a GPU to make worlds and to choose cameras for a thousand scenes costs little more than for ten. So batches of
    neighbouring indices take their scenes from one pool, whatever their shapes are.

    Args:
        seed: of everything; ranks of one run take different seeds or different indices.
        device: where all is made.
        per_family: textures of each family in the atlas.
        texture_size: pixels of a texture's side, a power of two.
        pool: scenes of a pool; 0 to make every batch for itself. None is 1024 on a GPU and 0 elsewhere.
        span: neighbouring indices that share a pool; ``pool / span`` is best about the number of a batch's scenes.
        views: cameras of each scene in a pool, the most that a batch can have.
        samples: of a pixel, 1 or 2.
        replay: how many neighbouring indices, if asked for the same shape, share what the cameras see: each a series
            of photographs of its own, from another first view. Light costs more to make than photographs.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device | str,
        per_family: int = 24,
        texture_size: int = 256,
        pool: int | None = None,
        span: int = 16,
        views: int = 12,
        samples: int = 2,
        replay: int = 1,
    ):
        self.replay = replay
        self.seed, self.device = seed, torch.device(device)
        self.per_family, self.texture_size, self.samples = per_family, texture_size, samples
        self.pool = pool if pool is not None else 1024 if self.device.type == "cuda" else 0
        self.span, self.views = (span, views) if self.pool else (1, 0)
        self._pools: OrderedDict[tuple[int, float, int, int], Pool] = OrderedDict()
        self._worlds: OrderedDict[tuple[int, int], World] = OrderedDict()
        self._atlases: OrderedDict[int, Atlas] = OrderedDict()
        self._seen: OrderedDict[tuple[int, int, int, int, int], tuple[Tensor, Tensor, Cameras, Tensor]] = OrderedDict()

    @torch.no_grad()
    def batch(self, index: int, scenes: int, views: int, height: int, width: int) -> Batch:
        """Batch number ``index``: ``scenes`` of ``views`` each; height and width are multiples of 8.

        Raises:
            ValueError: more scenes or views than a pool has.
        """
        shot, again = divmod(index, self.replay)
        light, depth, cameras, good = _remembered(
            self._seen,
            (shot, scenes, views, height, width),
            1,
            lambda: self._see(shot, scenes, views, height, width),
        )
        if again:
            light, depth, good = (part.roll(again, 1) for part in (light, depth, good))
            cameras = Cameras(*(getattr(cameras, part.name).roll(again, 1) for part in fields(Cameras)))
        images = photograph(light, self._generator("photographs", index))
        return finish(images, depth, cameras, good)

    def _see(
        self, index: int, scenes: int, views: int, height: int, width: int
    ) -> tuple[Tensor, Tensor, Cameras, Tensor]:
        """Light and depth of ``scenes`` of a pool, their cameras, and which of these are good."""
        size, count = (self.pool, self.views) if self.pool else (scenes, views)
        if scenes > size or views > count:
            raise ValueError(f"A pool has {size} scenes of {count} views, fewer than {scenes} of {views}.")
        number, place = divmod(index, self.span)
        pool = self._pool(number, width / height, size, count)
        first = place * size // self.span
        # Counted on the host, so that taking them waits for nothing: a batch may run over the pool's end.
        chosen = [slice(first, min(first + scenes, size)), slice(0, max(first + scenes - size, 0))]
        here = _rows(pool, chosen)
        cameras = Cameras(*(getattr(here.cameras, part.name)[:, :views] for part in fields(Cameras)))
        atlas = self._atlas(index // _BATCHES_PER_ATLAS)
        seed = self._seed("rays", index) % 2**31
        light, depth = render(here.world, atlas, cameras, height, width, samples=self.samples, seed=seed)
        return light, depth, cameras, here.good[:, :views]

    def _pool(self, number: int, aspect: float, size: int, count: int) -> Pool:
        def make() -> Pool:
            generator = self._generator(f"cameras {aspect:.4f}", number)
            return make_pool(self._world(number, size), count, aspect, generator)

        return _remembered(self._pools, (number, aspect, size, count), 6, make)

    def _world(self, number: int, size: int) -> World:
        def make() -> World:
            return make_world(size, self._generator("worlds", number), self.per_family)

        return _remembered(self._worlds, (number, size), 2, make)

    def _atlas(self, number: int) -> Atlas:
        def make() -> Atlas:
            return make_atlas(self._generator("atlas", number), self.per_family, self.texture_size)

        return _remembered(self._atlases, number, 1, make)

    def _seed(self, purpose: str, number: int) -> int:
        """Different for every purpose and number, the same on every machine (FNV-1a, 64 bits)."""
        value = 0xCBF29CE484222325
        for byte in f"{self.seed}/{purpose}/{number}".encode():
            value = (value ^ byte) * 0x100000001B3 % 2**64
        return value % 2**63

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self._seed(purpose, number))


def make_pool(world: World, count: int, aspect: float, generator: torch.Generator) -> Pool:
    """``count`` cameras for each of a world's scenes, chosen among twice as many and two."""
    height, width = _LOW_RESOLUTION if aspect >= 1 else _LOW_RESOLUTION[::-1]
    pools = []
    for start in range(0, len(world.kind), _SCENES_AT_ONCE):
        some = _rows(world, [slice(start, start + _SCENES_AT_ONCE)])
        candidates = candidate_cameras(some, 2 * count + 2, aspect, generator)
        choice = choose_views(candidates, cast_depth(some, candidates, height, width), count, generator)
        scene = torch.arange(len(choice.views), device=choice.views.device)[:, None]
        cameras = Cameras(*(getattr(candidates, part.name)[scene, choice.views] for part in fields(Cameras)))
        pools.append((cameras, choice.good))
    together = Cameras(*(torch.cat([getattr(cameras, part.name) for cameras, _ in pools]) for part in fields(Cameras)))
    return Pool(world, together, torch.cat([good for _, good in pools]))


def finish(images: Tensor, depth: Tensor, cameras: Cameras, good: Tensor) -> Batch:
    """A normalised batch. What is far beyond all else counts as sky; `Batch.usable` where a pose can be learned."""
    depth = depth.nan_to_num(0, 0, 0)
    sample = depth[..., ::8, ::8].flatten(1)
    usual = torch.where(sample > 0, sample, torch.nan).nanmedian(1).values.nan_to_num(1)
    depth = torch.where(depth > _FAR * usual[:, None, None, None], 0, depth)
    pose = torch.cat([cameras.rotation, cameras.centre[..., None]], -1)
    last = (torch.arange(4, device=depth.device) == 3).to(pose.dtype).expand(*pose.shape[:2], 1, 4)
    batch = Batch(images, depth, torch.cat([pose, last], -2), cameras.tangents, good).normalised()
    known = batch.valid.float().mean((-1, -2))
    way = batch.world_from_camera[..., :3, 3].norm(dim=-1)
    return batch.with_(usable=good & (known > _LEAST_KNOWN) & (way < _LONGEST_WAY))


def _rows(part: Parts, chosen: Sequence[slice]) -> Parts:
    """Some of the scenes of a tensor, or of all tensors of a dataclass."""
    if isinstance(part, Tensor):
        return torch.cat([part[rows] for rows in chosen]) if len(chosen) > 1 else part[chosen[0]]  # type: ignore
    if not is_dataclass(part):
        raise TypeError(f"Scenes are tensors and dataclasses of them, not {type(part).__name__}.")
    return type(part)(*(_rows(getattr(part, each.name), chosen) for each in fields(part)))  # type: ignore


def _remembered(cache: OrderedDict[Key, Made], key: Key, most: int, make: Callable[[], Made]) -> Made:
    """What was made for a key, made now if it was not; only the latest few are kept."""
    if key not in cache:
        cache[key] = make()
    cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)
    return cache[key]
