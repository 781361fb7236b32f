"""All templates of things, in one order."""

from __future__ import annotations

from recon.training.scenes.buildings import BUILDINGS, GROUNDS
from recon.training.scenes.furniture import FURNITURE
from recon.training.scenes.plants import PLANTS
from recon.training.scenes.roadside import CLUTTER, ROADSIDE
from recon.training.scenes.rooms import FLOORS, HANGING, LAMPS, STANDING_AT_WALLS
from recon.training.scenes.things import THINGS

INDOORS = [*FLOORS, *FURNITURE, *HANGING, *STANDING_AT_WALLS, *LAMPS]
OUTDOORS = [*GROUNDS, *BUILDINGS, *ROADSIDE, *PLANTS, *CLUTTER]
TEMPLATES = [*INDOORS, *OUTDOORS, *THINGS]
