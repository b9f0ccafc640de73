"""Examples: the photos that the page offers to try, with their thumbnails."""

from pathlib import Path
from typing import NamedTuple

import cv2

from deepfer import LABELS, read_image
from ui.emotions import emotion
from ui.jpeg import jpeg_uri
from ui.language import _
from ui.photo_view import file_url
from ui.uploads import store

FOLDER = Path(__file__).parent / "examples"
NAMES = ("astronaut", "group", *LABELS)  # in the order in which they are shown
THUMB_SIDE = 112  # pixels: twice the size on the page, for screens with small pixels


class Example(NamedTuple):
    """A photo to try.

    Attributes:
        name: Its file name without the suffix.
        path: The copy among the uploads, which visitors' requests may name.
        url: The address of that copy, relative to the page.
        thumbnail: A small copy as a data URI.
    """

    name: str
    path: str
    url: str
    thumbnail: str

    @property
    def shown_name(self) -> str:
        """What it shows, in the spoken language."""
        return {"astronaut": _("astronaut"), "group": _("group")}.get(self.name) or emotion(self.name)


def examples() -> list[Example]:
    """Copy the examples among the uploads, where they stay: the cleaner spares what was there at the start."""
    found = []
    for file in (FOLDER / f"{name}.jpg" for name in NAMES):
        path = store(file.read_bytes(), file.name)
        rgb = read_image(file)
        side = min(rgb.shape[:2])
        left = (rgb.shape[1] - side) // 2
        small = cv2.resize(rgb[:side, left : left + side], (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
        found.append(Example(file.stem, path, file_url(path), jpeg_uri(small)))
    return found
