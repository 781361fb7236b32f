"""Where the files shipped with the package lie."""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "assets"
_CHECKOUT = Path(__file__).parent.parent / "assets"

ASSETS = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
WEIGHTS = ASSETS / "parallax-small.safetensors"  # of the embedded model
