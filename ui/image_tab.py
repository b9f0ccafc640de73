"""The image tab: a picture goes in; the annotated picture and a card for each face come out."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from deepfer import LABELS, EmotionRecognizer, Face, ImageError, draw_faces, read_image
from deepfer.drawing import STYLES
from deepfer.face import format_percent
from deepfer.result import Result
from deepfer.table import header, to_csv
from ui.uploads import kept, uploaded
from ui.usage import StorageFull
from ui.visitors import cores

EXAMPLES = Path(__file__).parent / "examples"
CREDIT = "Astronaut Eileen Collins, photographed by NASA (public domain), and a wall of portraits drawn for DeepFER."
SHOWN_SIDE = 2048  # pixels: more than a screen shows of the annotated picture, and a bound on what travels
CROP_SIDE = 112  # pixels of a crop on its card, as in style.css
DETECTORS = {"deepfer": "DeepFER's own", "yunet": "YuNet", "haar": "Haar cascade"}

NO_FACE = (
    "<p>What helps:</p><ul><li>a face seen from the front, not covered by hands, mask or sunglasses;</li>"
    "<li>a closer view: about 30 pixels from ear to ear are needed;</li>"
    "<li>even light, and the picture the right way up.</li></ul>"
)
EMPTY = '<p class="fer-note">Add a picture or take an example: each face gets a card here, the largest first.</p>'
# gr.Examples gives its buttons a picture or a name, not both: without one they say nothing to a screen reader. They
# come later than this is run, and anew after that.
NAME_EXAMPLES = """
new MutationObserver(() => {
  const buttons = document.querySelectorAll("#examples button");
  buttons.forEach((button, i) => { button.ariaLabel = props.names[i]; });
}).observe(element.closest("[role=tabpanel]"), { childList: true, subtree: true });
"""


@dataclass(frozen=True)
class Reading:
    """One picture, read.

    Attributes:
        name: The file's name.
        rgb: The picture.
        faces: Its faces, largest first.
        crops: What the classifier saw of each face, as `EmotionRecognizer.crop` tells.
        maps: For each face, each cell's say in its emotion, float32 `(h, w)`; None from a model without maps.
        seconds: What detection, alignment and classification took.
    """

    name: str
    rgb: np.ndarray
    faces: list[Face]
    crops: list[np.ndarray]
    maps: list[np.ndarray] | None
    seconds: float


def read(recognizer: EmotionRecognizer, image: dict[str, Any]) -> Reading:
    """Read a picture and recognize its faces.

    Args:
        recognizer: What recognizes them.
        image: Gradio's record of an uploaded file.

    Raises:
        ImageError: It is no picture that can be read; in the visitor's terms, without where the server keeps it.
    """
    path = uploaded(image)
    try:
        rgb = read_image(path)
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), path.name)) from error
    start = time.perf_counter()
    faces = recognizer.recognize(rgb)
    seconds = time.perf_counter() - start
    crops = [recognizer.crop(rgb, face) for face in faces]
    maps = None
    if crops and "activation_map" in recognizer.classifier.checkpoint.outputs:
        _, every = recognizer.classifier.explain(np.stack(crops))
        maps = [cells[..., LABELS.index(face.emotion)] for face, cells in zip(faces, every, strict=True)]
    return Reading(path.name, rgb, faces, crops, maps, seconds)


def image_tab(recognizer: EmotionRecognizer) -> gr.Image:
    """Add the tab to the `gr.Tabs` around it, and the endpoint `/recognize_image`; give what takes the picture."""

    def show(image: dict[str, Any] | None) -> tuple[dict[str, Any], str, str]:
        """What the page shows for a picture: the annotated picture, what was found, and the cards."""
        if image is None:
            return gr.update(value=None, alt_text=None), EMPTY, ""
        try:
            reading = read(recognizer, image)
            picture = gr.update(value=annotated(reading), alt_text=summary(reading.faces))
        except (ImageError, StorageFull) as error:
            return gr.update(value=None, alt_text=None), error_html(str(error)), ""
        return picture, overview_html(reading, recognizer), cards_html(reading)

    def recognize_image(image: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
        """Find every face in a picture and tell its emotion.

        Takes JPEG, PNG, WebP, AVIF, GIF (first frame), BMP or TIFF. Answers with the annotated picture, at most 2048
        pixels wide or high, and an object: width, height, model, revision, detector, and faces, largest first, each
        with its box [x1, y1, x2, y2] in pixels of the picture that was sent, detection_score, landmarks, emotion,
        confidence and the probabilities of the seven emotions.

        Args:
            image: The picture file.

        Returns:
            The annotated picture.
            The object.
        """
        if image is None:
            raise gr.Error("Send the picture as a file.", print_exception=False)
        try:
            reading = read(recognizer, image)
            picture = annotated(reading)
        except (ImageError, StorageFull) as error:
            raise gr.Error(str(error), print_exception=False) from error
        found = to_result(reading, recognizer).to_dict()
        del found["path"]  # gradio_client takes any object with a "path" for a file to fetch
        return picture, found

    with gr.Tab("Image", id="image"):
        with gr.Row(equal_height=True):
            with gr.Column():
                picture = gr.Image(
                    label="Your picture",
                    sources=["upload", "clipboard", "webcam"],
                    format="jpeg",
                    height="var(--fer-picture-height)",
                    placeholder="Drop a picture here\n- or -\nClick to choose one",
                    buttons=["fullscreen"],
                    elem_id="picture",
                )
            with gr.Column():
                output = gr.Image(
                    label="Faces found",
                    format="jpeg",
                    height="var(--fer-picture-height)",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="annotated",
                )
        overview = gr.HTML(EMPTY, apply_default_css=False, elem_id="overview")
        # The maps travel with the cards, and style.css shows them where this is on: no round trip, no second upload.
        gr.Checkbox(
            label="Why?",
            info="Lays over each face what spoke for its emotion: the brighter a place, the more it counted. "
            "This is what the model went by, not a sign that it is right.",
            container=False,
            elem_id="why",
        )
        cards = gr.HTML(apply_default_css=False, elem_id="cards")
        examples = sorted(EXAMPLES.glob("*.jpg"))
        gr.Examples(
            list(map(str, examples)),
            picture,
            cache_examples=False,
            api_visibility="private",
            elem_id="examples",
        )
        gr.HTML(
            f'<p class="fer-credit">{CREDIT}</p>',
            js_on_load=NAME_EXAMPLES,
            names=[f"Example: {path.stem}" for path in examples],
            apply_default_css=False,
        )
        answer = gr.JSON(visible=False, label="Faces")  # the endpoint's second answer

        # Without `preprocess`: there gr.Image opens each file itself, and of one that it cannot open (a text, a bomb)
        # the visitor would read "Error". So `read_image` is the one reader, with its limits and its words.
        # One group for page and endpoint: as many pictures at once as there are cores, and the rest wait in line.
        options: dict[str, Any] = {"preprocess": False, "concurrency_limit": cores(), "concurrency_id": "recognize"}
        picture.change(
            show, picture, [output, overview, cards], show_progress_on=output, api_visibility="private", **options
        )
        gr.on([], recognize_image, picture, [output, answer], api_name="recognize_image", **options)
    return picture


def annotated(reading: Reading) -> str:
    """Where the picture lies with its faces drawn, shrunk to `SHOWN_SIDE`, as JPEG."""
    drawn = draw_faces(reading.rgb, reading.faces)
    height, width = drawn.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    return kept(encode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)), f"{Path(reading.name).stem[:80]}-faces.jpg")


def to_result(reading: Reading, recognizer: EmotionRecognizer) -> Result:
    """What the command line would say about the same picture."""
    height, width = reading.rgb.shape[:2]
    about = (recognizer.model_name, recognizer.revision, recognizer.detector_name)
    return Result(reading.name, *about, width, height, list(reading.faces))


def summary(faces: Sequence[Face]) -> str:
    """The faces in one line: "2 faces: happy 91 %, sad 47 %"."""
    if not faces:
        return "No face found"
    shown = ", ".join(f"{face.emotion} {format_percent(face.confidence)}" for face in faces[:8])
    return f"{len(faces)} face{'s' * (len(faces) != 1)}: {shown}{', …' * (len(faces) > 8)}"


def error_html(message: str) -> str:
    """Why a picture was not read."""
    return (
        '<div class="fer-note fer-error" role="alert"><h2>This picture could not be read</h2>'
        f"<p>{escape(message)}</p></div>"
    )


def overview_html(reading: Reading, recognizer: EmotionRecognizer) -> str:
    """How many faces, by what and how fast, the downloads, and what to do where the answer could be better."""
    count = len(reading.faces)
    height, width = reading.rgb.shape[:2]
    revision = f" @ {recognizer.revision[:8]}" if recognizer.revision else ""
    facts = {
        "Detector": DETECTORS.get(recognizer.detector_name, recognizer.detector_name),
        "Model": f"{recognizer.model_name}{revision}",
        "Time": f"{1000 * reading.seconds:.0f} ms",
        "Picture": f"{width} \N{MULTIPLICATION SIGN} {height}",
    }
    meta = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items())
    stem = Path(reading.name).stem
    result = to_result(reading, recognizer)
    answer = json.dumps(result.to_dict(), indent=2)
    downloads = download_html("JSON", f"{stem}.json", "application/json", answer)
    downloads += download_html("CSV", f"{stem}.csv", "text/csv", header() + to_csv(result.rows()))
    heading = f"{count} face{'s' * (count != 1)}" if count else "No face found"
    return (
        f'<section class="fer-overview" role="status"><div class="fer-bar"><h2>{heading}</h2><dl>{meta}</dl>'
        f'<div class="fer-downloads">{downloads}</div></div>{"" if count else NO_FACE}</section>'
    )


def cards_html(reading: Reading) -> str:
    """A card for each face."""
    cards = "".join(card_html(reading, i) for i in range(len(reading.faces)))
    return f'<ol class="fer-cards">{cards}</ol>' if cards else ""


def card_html(reading: Reading, i: int) -> str:
    """One face: its crop, its emotion, and a bar for each of the seven."""
    face = reading.faces[i]
    emotion = max(face.probabilities, key=lambda label: face.probabilities[label])
    crop = cv2.resize(reading.crops[i], (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC)
    if crop.ndim == 3:  # of a model that takes colour
        crop = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    images = f'<img src="{data_uri("image/jpeg", encode(".jpg", crop))}" alt="Face {i + 1}, as the model sees it">'
    if reading.maps:
        overlay = data_uri("image/png", encode(".png", heat(reading.maps[i])))
        images += f'<img class="fer-map" src="{overlay}" alt="What spoke for {emotion}">'
    rows = "".join(row_html(label, p, label == emotion) for label, p in face.probabilities.items())
    return (
        f'<li class="fer-card" style="--c: {STYLES[emotion].hex}">'
        f'<div class="fer-face"><div class="fer-crop">{images}</div><div>'
        f'<h3><span class="fer-emoji" aria-hidden="true">{STYLES[emotion].emoji}</span> {emotion}</h3>'
        f"<p>{format_percent(face.confidence)} · face {i + 1}</p></div></div>"
        f'<table aria-label="How likely each emotion is for face {i + 1}"><tbody>{rows}</tbody></table></li>'
    )


def row_html(label: str, probability: float, top: bool) -> str:
    """One emotion's name, bar and figure."""
    return (
        f'<tr class="{"fer-top" if top else ""}"><th scope="row">{label}</th><td class="fer-track">'
        f'<span style="--p: {probability:.4f}; --c: {STYLES[label].hex}"></span></td>'
        f"<td>{format_percent(probability)}</td></tr>"
    )


def heat(cells: np.ndarray) -> np.ndarray:
    """An activation map as a picture to lay over a crop, BGRA uint8.

    It is clear where least spoke for the label, then goes from dark through orange to bright yellow.
    """
    share = (cells - cells.min()) / max(float(np.ptp(cells)), 1e-6)
    smooth = np.clip(cv2.resize(share, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)
    colour = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.dstack([colour, (200 * smooth).astype(np.uint8)])


def encode(kind: str, image: np.ndarray) -> bytes:
    """A gray, BGR or BGRA image as a file's content."""
    return cv2.imencode(kind, image)[1].tobytes()


def data_uri(kind: str, content: bytes) -> str:
    """Content that travels inside the page, so that nothing is kept on disk for it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def download_html(label: str, name: str, kind: str, content: str) -> str:
    """A link that saves `content` as a file."""
    uri = data_uri(kind, content.encode())
    return f'<a class="fer-button" href="{uri}" download="{escape(name)}">{label}</a>'
