"""PhotoView: what the page shows of one photo, and the HTML of the results of one or several."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from deepfer import Face
from deepfer.result import Result
from deepfer.table import header, to_csv
from ui.components import Download, data_uri, facts, render
from ui.emotions import emotion, verdict
from ui.jpeg import encode_jpeg, jpeg_uri
from ui.language import _, explain, ngettext, percent
from ui.photo_analysis import PhotoAnalysis
from ui.uploads import store

CROP_SIDE = 112  # pixels of a crop on its card, as in cards.css
THUMB_SIDE = 96
CROWD = 12  # from this number of faces on, a card is one line, and labels on the photo are only numbers


@dataclass(frozen=True)
class PhotoView:
    """One photo as the page shows it, without its pixels.

    Attributes:
        result: Its result.
        shown: The URL of the photo, relative to the page.
        annotated: The link to the photo with its faces drawn onto it, or None if it could not be read.
        thumbnail: A small copy as a data URI.
        cards: For each face its "face", "crop_uri" and "map_uri" (or None), and its box in percent of the photo.
        seconds: The time to recognize the faces.
    """

    result: Result
    shown: str = ""
    annotated: Download | None = None
    thumbnail: str = ""
    cards: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tally(self) -> str:
        """How many faces show each emotion, most frequent first: "9 happy, 4 neutral, 2 unclear"."""
        counts = Counter("unclear" if face.unclear else face.emotion for face in self.result.faces)
        clear = [item for item in counts.most_common() if item[0] != "unclear"]
        rest = [("unclear", counts["unclear"])] if counts["unclear"] else []
        named = [(emotion(label or ""), count) for label, count in clear + rest]
        return _(", ").join(_("%(count)s %(emotion)s", count=count, emotion=name) for name, count in named)

    @property
    def summary(self) -> str:
        """The faces in one line: "2 faces: happy 91%, unclear: sad or neutral?"."""
        faces = self.result.faces
        if not faces:
            return _("No face found")
        said = [verdict(face) if face.unclear else f"{verdict(face)} {percent(face.confidence)}" for face in faces]
        text = _(", ").join(said) if len(faces) < CROWD else self.tally
        return ngettext("%(num)s face: %(faces)s", "%(num)s faces: %(faces)s", len(faces), faces=text)


def view(analysis: PhotoAnalysis) -> PhotoView:
    """Store the photo and its annotated copy for the page, and make its cards.

    Raises:
        StorageFull: There is no room for them.
    """
    result = analysis.result
    stored = store(encode_jpeg(analysis.rgb), "photo.jpg")
    name = f"{Path(result.path).stem[:80]}-faces.jpg"  # which the server sends with the file, too
    annotated = store(encode_jpeg(analysis.draw()), name)
    thumbnail = jpeg_uri(_thumbnail(analysis.rgb))
    cards = [
        {
            "face": face,
            "box": percent_box(face, result),
            "crop_uri": crop_uri(crop),
            "map_uri": heat_map_uri(cells) if cells is not None else None,
        }
        for face, crop, cells in itertools.zip_longest(result.faces, analysis.crops, analysis.maps)
    ]
    link = Download(_("Annotated photo"), name, file_url(annotated))
    return PhotoView(result, file_url(stored), link, thumbnail, cards, analysis.seconds)


def results_html(photos: Sequence[PhotoView]) -> str:
    """One photo, or a gallery of several, with all faces as JSON and CSV."""
    results = [photo.result for photo in photos]
    several = len(photos) > 1
    if not several and results[0].error:
        return render("error.html", title=_("This photo could not be processed"), message=explain(results[0].error))
    stem = "photos" if several else Path(results[0].path).stem
    objects: Any = [result.to_dict() for result in results] if several else results[0].to_dict()
    csv = header() + "".join(to_csv(result.rows()) for result in results)
    details = facts(results[0]) | {_("Time"): f"{1000 * sum(photo.seconds for photo in photos):.0f} ms"}
    if not several:
        details[_("Size")] = f"{results[0].width} \N{MULTIPLICATION SIGN} {results[0].height}"
    return render(
        "image_results.html",
        photos=photos,
        count=sum(result.count for result in results),
        crowd=CROWD,
        maps=any(card["map_uri"] for photo in photos for card in photo.cards),
        facts=details,
        downloads=[
            Download.of("JSON", f"{stem}.json", "application/json", json.dumps(objects, indent=2)),
            Download.of("CSV", f"{stem}.csv", "text/csv", csv),
        ],
    )


def percent_box(face: Face, result: Result) -> dict[str, float]:
    """A face's box in percent of the photo: its left and top side, its width and height."""
    x1, y1, x2, y2 = face.box
    width, height = (result.width or 1) / 100, (result.height or 1) / 100
    values = {"left": x1 / width, "top": y1 / height, "width": (x2 - x1) / width, "height": (y2 - y1) / height}
    return {name: round(value, 3) for name, value in values.items()}


def file_url(path: str) -> str:
    """The URL of a stored file, relative to the page, so that it holds below any root path."""
    return f"gradio_api/file={quote(path)}"


def crop_uri(crop: np.ndarray) -> str:
    """A face's crop, gray or RGB, as a JPEG."""
    resized = cv2.resize(crop, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC)
    return jpeg_uri(resized)


def heat_map_uri(cells: np.ndarray) -> str:
    """A class activation map as a PNG to lay over the crop.

    It is transparent where the map is lowest and goes from dark through orange to bright yellow.
    """
    scaled = (cells - cells.min()) / max(float(np.ptp(cells)), 1e-6)
    smooth = np.clip(cv2.resize(scaled, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)
    colour = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)
    image = np.dstack([colour, (200 * smooth).astype(np.uint8)])
    return data_uri("image/png", cv2.imencode(".png", image)[1].tobytes())


def _thumbnail(rgb: np.ndarray) -> np.ndarray:
    """The photo's middle, square, `THUMB_SIDE` pixels wide."""
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    square = rgb[top : top + side, left : left + side]
    return cv2.resize(square, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
