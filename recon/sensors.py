"""How wide the sensors of some cameras are: for files that tell the focal length in mm alone.

Most cameras write its 35 mm equivalent or the density of their pixels too. Widths are those of the published sizes, in
mm, of what a picture's long side shows.
"""

from __future__ import annotations

FOUR_THIRDS, ONE_INCH, ACTION = 17.3, 13.2, 6.17  # 4/3", 1" and 1/2.3" by their type

WIDTHS = {  # by the beginning of maker and model, in lower case
    "apple iphone 4": 4.54,
    "apple iphone 5s": 4.89,
    "apple iphone 5": 4.54,
    "dji fc220": ACTION,  # Mavic Pro
    "dji fc300": ACTION,  # Phantom 3
    "dji fc330": ACTION,  # Phantom 4
    "dji fc350": ACTION,  # Zenmuse X3
    "dji fc550": FOUR_THIRDS,  # Zenmuse X5
    "dji fc6310": ONE_INCH,  # Phantom 4 Pro
    "gopro hero3": ACTION,
    "gopro hero4": ACTION,
    "gopro hero5": ACTION,
    "gopro hero6": ACTION,
    "gopro hero7": ACTION,
    "hasselblad l1d-20c": ONE_INCH,  # Mavic 2 Pro
    "olympus e-m": FOUR_THIRDS,
    "olympus e-p": FOUR_THIRDS,
    "panasonic dc-g": FOUR_THIRDS,
    "panasonic dmc-g": FOUR_THIRDS,
    "ricoh gr": 23.5,
    "sony ilce-5": 23.5,
    "sony ilce-6": 23.5,
    "sony ilce-7": 35.8,
    "sony ilce-9": 35.6,
    "sony nex-": 23.5,
}


def sensor_width(make: str, model: str) -> float | None:
    """In mm, of a camera as its EXIF data name it ("OLYMPUS CORPORATION", "E-M10MarkII"); None where not known."""
    maker = make.lower().split()
    name = model.lower().strip()
    if not maker:
        return None
    called = name if name.startswith(maker[0]) else f"{maker[0]} {name}"
    return next((width for start, width in WIDTHS.items() if called.startswith(start)), None)
