"""All templates of things, in one order."""

from __future__ import annotations

from recon.training.scenes.indoors import INDOORS
from recon.training.scenes.outdoors import OUTDOORS
from recon.training.scenes.things import THINGS

TEMPLATES = [*INDOORS, *OUTDOORS, *THINGS]
