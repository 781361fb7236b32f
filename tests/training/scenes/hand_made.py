"""Worlds put together by hand, solid by solid."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.training.scenes.world import SLOTS, Cameras, Lights, Materials, Solids, World


def empty_world(scenes: int = 1) -> World:
    """Nothing under a blue sky, lit from above and by a sun."""

    def of_all(*values: float) -> Tensor:
        return torch.tensor(values).expand(scenes, -1).clone()

    lights = Lights(
        ambient_up=of_all(0.5, 0.5, 0.5),
        ambient_down=of_all(0.3, 0.3, 0.3),
        key=of_all(0.0, 0.0, 1.0),
        key_is_lamp=torch.zeros(scenes, dtype=torch.bool),
        key_reach=torch.full((scenes,), 3.0),
        key_colour=of_all(1.0, 1.0, 1.0),
        fill=of_all(1.0, 0.0, 0.0),
        fill_colour=of_all(0.1, 0.1, 0.1),
        zenith=of_all(0.1, 0.3, 0.9),
        horizon=of_all(0.7, 0.8, 0.9),
        clouds=torch.zeros(scenes),
        haze=torch.zeros(scenes),
    )
    return World(
        *(_slots(scenes, count) for count in SLOTS.values()),
        lights=lights,
        kind=torch.zeros(scenes, dtype=torch.long),
        focus=torch.zeros(scenes, 1, 3),
        extent=torch.full((scenes,), 3.0),
        interior_centre=torch.zeros(scenes, 3),
        interior_half=torch.ones(scenes, 3),
        interior_yaw=torch.zeros(scenes),
    )


def put(
    solids: Solids, slot: int, centre: list[float], half_size: list[float], rotation: Tensor | None = None,
    shape: float = 1.0, scene: int = 0,
) -> None:  # fmt: skip
    """One solid into a slot of a scene."""
    solids.centre[scene, slot] = torch.tensor(centre)
    solids.half_size[scene, slot] = torch.tensor(half_size)
    solids.shape[scene, slot] = shape
    if rotation is not None:
        solids.rotation[scene, slot] = rotation


def camera(centre: list[float], target: list[float], tangents: tuple[float, float] = (0.8, 0.6)) -> Cameras:
    """One view of one scene, upright."""
    start = torch.tensor(centre)
    forward = torch.nn.functional.normalize(torch.tensor(target) - start, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0])), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
    return Cameras(rotation[None, None], start[None, None], torch.tensor(tangents)[None, None])


def turn(seed: int) -> Tensor:
    """A random rotation ``[3,3]``."""
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)))
    return q * torch.linalg.det(q)


def _slots(scenes: int, count: int) -> Solids:
    def full(value: float) -> Tensor:
        return torch.full((scenes, count), value)

    return Solids(
        centre=torch.zeros(scenes, count, 3),
        rotation=torch.eye(3).expand(scenes, count, 3, 3).clone(),
        half_size=torch.zeros(scenes, count, 3),
        shape=full(1.0),
        materials=Materials(
            texture=torch.zeros(scenes, count, dtype=torch.long),
            tile=full(1.0),
            angle=full(0.0),
            offset=torch.zeros(scenes, count, 2),
            tint=torch.full((scenes, count, 3), 0.5),
            contrast=full(0.0),
            dirt=full(0.0),
            bump=full(0.0),
            gloss=full(0.0),
            shininess=full(20.0),
            emission=full(0.0),
        ),
    )
