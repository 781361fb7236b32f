"""World: what a procedural scene is made of, as tensors. Solids stand in slots by kind, so that all rays of a batch
are cast at all slots of a kind at once, without branches.

The world's z axis points up; lengths are metres. A slot whose ``half_size`` is 0 holds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

SLOTS = {"rooms": 1, "boxes": 78, "ellipsoids": 14, "frusta": 26, "cards": 21}


@dataclass
class Materials:
    """Of N slots of S scenes. A surface's albedo is ``tint * (1 - contrast + contrast * texture)``, made dirty.

    Attributes:
        texture: ``[S,N] long``, index into the atlas.
        tile: ``[S,N]`` metres that one tile of the texture covers.
        angle: ``[S,N]`` radians by which the texture is turned on the surface.
        offset: ``[S,N,2]`` shift of the texture, in tiles.
        tint: ``[S,N,3]`` linear colour, 0..1.
        contrast: ``[S,N]`` 0 (plain) to 1 (the texture as it is).
        dirt: ``[S,N]`` 0..1, how much a second, larger lookup darkens and lightens.
        bump: ``[S,N]`` 0..1, how much the texture's slope turns the normal.
        gloss: ``[S,N]`` 0..1, strength of highlights and of the reflected surroundings.
        shininess: ``[S,N]`` exponent of the highlight, about 8 to 200.
        emission: ``[S,N]`` light of its own, in albedos.
    """

    texture: Tensor
    tile: Tensor
    angle: Tensor
    offset: Tensor
    tint: Tensor
    contrast: Tensor
    dirt: Tensor
    bump: Tensor
    gloss: Tensor
    shininess: Tensor
    emission: Tensor


@dataclass
class Solids:
    """N slots of one kind in each of S scenes.

    Attributes:
        centre: ``[S,N,3]``.
        rotation: ``[S,N,3,3]`` world_from_local: columns are the local axes.
        half_size: ``[S,N,3]`` along the local axes; 0 for an empty slot.
        shape: ``[S,N]``; of a frustum, the top's radius over the bottom's (1 a cylinder, 0 a cone); of a card, the
            share of it that is there (1 a full sheet, below 1 leaves; of a mesh with gaps, -share); unused otherwise.
        materials: of the surface.
    """

    centre: Tensor
    rotation: Tensor
    half_size: Tensor
    shape: Tensor
    materials: Materials


@dataclass
class Lights:
    """Of S scenes; colours are linear and may exceed 1.

    Attributes:
        ambient_up: ``[S,3]`` light on surfaces that face up.
        ambient_down: ``[S,3]`` light on surfaces that face down.
        key: ``[S,3]`` position of the lamp, or direction towards the sun.
        key_is_lamp: ``[S] bool``.
        key_reach: ``[S]`` metres at which a lamp has fallen to about half.
        key_colour: ``[S,3]``; it casts shadows.
        fill: ``[S,3]`` direction towards a second light, without shadow.
        fill_colour: ``[S,3]``.
        zenith: ``[S,3]`` colour of the sky above.
        horizon: ``[S,3]`` colour of the sky at the horizon, and of the haze.
        clouds: ``[S]`` 0..1.
        haze: ``[S]`` per metre.
    """

    ambient_up: Tensor
    ambient_down: Tensor
    key: Tensor
    key_is_lamp: Tensor
    key_reach: Tensor
    key_colour: Tensor
    fill: Tensor
    fill_colour: Tensor
    zenith: Tensor
    horizon: Tensor
    clouds: Tensor
    haze: Tensor


@dataclass
class World:
    """S scenes.

    Attributes:
        rooms: ``[S,1]`` boxes seen from inside (walls, floor and ceiling), without shadow.
        boxes: half_size is the box.
        ellipsoids: half_size holds the semi-axes.
        frusta: round, along local z from -half_size to +half_size; bottom semi-axes are half_size's x and y.
        cards: rectangles in the local xy plane, seen from both sides, perhaps with gaps; half_size's z is unused but
            not 0.
        lights: and sky.
        kind: ``[S] long``: 0 room, 1 tabletop, 2 street, 3 clutter.
        focus: ``[S,G,3]`` places worth looking at.
        extent: ``[S]`` about how far the things that matter reach from the origin, in metres.
        interior_centre: ``[S,3]`` of the box in which cameras may stand.
        interior_half: ``[S,3]`` of the same, along its own axes.
        interior_yaw: ``[S]`` its turn about z.
    """

    rooms: Solids
    boxes: Solids
    ellipsoids: Solids
    frusta: Solids
    cards: Solids
    lights: Lights
    kind: Tensor
    focus: Tensor
    extent: Tensor
    interior_centre: Tensor
    interior_half: Tensor
    interior_yaw: Tensor


@dataclass
class Cameras:
    """V pinholes in each of S scenes; OpenCV axes.

    Attributes:
        rotation: ``[S,V,3,3]`` world_from_camera.
        centre: ``[S,V,3]``.
        tangents: ``[S,V,2]`` of half the horizontal and vertical field of view.
    """

    rotation: Tensor
    centre: Tensor
    tangents: Tensor
