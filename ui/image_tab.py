"""The image tab: a photo goes in; the annotated photo and a card for each face come out."""

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from deepfer import LABELS, EmotionRecognizer, Face, ImageError, draw_faces, read_image
from deepfer.result import Result
from deepfer.table import header, to_csv
from deepfer.text import format_percent
from ui.components import Download, counted, data_uri, facts, render
from ui.cores import usable_cores
from ui.uploads import store, uploaded_path
from ui.usage import StorageFull

EXAMPLES = Path(__file__).parent / "examples"
CREDIT = "Examples: astronaut Eileen Collins, by NASA (public domain), and portraits drawn for DeepFER."
EMPTY = '<p class="fer-note">Add a photo or try an example. Each face will appear here, largest first.</p>'
SHOWN_SIDE = 2048  # pixels of the annotated image's longer side: enough for any screen
CROP_SIDE = 112  # pixels of a crop on its card, as in style.css
# gr.Examples labels its buttons with an image or a name, not both, and makes them again later: name them for screen
# readers each time.
NAME_EXAMPLES = """
new MutationObserver(() => {
  const buttons = document.querySelectorAll("#examples button");
  buttons.forEach((button, i) => { button.ariaLabel = props.names[i]; });
}).observe(element.closest("[role=tabpanel]"), { childList: true, subtree: true });
"""


@dataclass(frozen=True)
class ImageAnalysis:
    """The faces of one image.

    Attributes:
        result: The result that the command line would report; its path is the file's name.
        rgb: The image, RGB uint8 `(H, W, 3)`.
        crops: For each face, the classifier's input, as `EmotionRecognizer.crop` returns it.
        maps: For each face, the class activation map of its emotion, float32 `(h, w)`; empty if the model has none.
        seconds: Time that detection, alignment and classification took.
    """

    result: Result
    rgb: np.ndarray
    crops: list[np.ndarray]
    maps: list[np.ndarray]
    seconds: float


def image_tab(recognizer: EmotionRecognizer) -> gr.Image:
    """Add the tab to the surrounding `gr.Tabs`, and the endpoint `/recognize_image`.

    Returns:
        The component that takes the photo.
    """
    handlers = _Handlers(recognizer)
    with gr.Tab("Photo", id="image"):
        with gr.Row(equal_height=True):
            with gr.Column():
                photo = gr.Image(
                    label="Your photo",
                    sources=["upload", "clipboard", "webcam"],
                    format="jpeg",
                    height="var(--fer-picture-height)",
                    placeholder="Drop a photo here\n- or -\nClick to choose one",
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
        # The maps come with the cards and style.css shows them while this is on, without another request.
        gr.Checkbox(
            label="Show what the model looked at",
            info="Highlights the areas that most influenced the result. It doesn't mean the result is right.",
            container=False,
            elem_id="why",
        )
        cards = gr.HTML(apply_default_css=False, elem_id="cards")
        examples = sorted(EXAMPLES.glob("*.jpg"))
        gr.Examples(list(map(str, examples)), photo, cache_examples=False, api_visibility="private", elem_id="examples")
        gr.HTML(
            f'<p class="fer-credit">{CREDIT}</p>',
            js_on_load=NAME_EXAMPLES,
            names=[f"Example: {path.stem}" for path in examples],
            apply_default_css=False,
        )
        faces = gr.JSON(visible=False, label="Faces")  # the endpoint's second result

        # No `preprocess`: gr.Image would open each file itself and show just "Error" for an invalid one. `read_image`
        # has our limits and messages. Page and endpoint share one group: one image per core, the rest queue.
        options: dict[str, Any] = {
            "preprocess": False,
            "concurrency_limit": usable_cores(),
            "concurrency_id": "recognize",
        }
        photo.change(
            handlers.show,
            photo,
            [output, overview, cards],
            show_progress_on=output,
            api_visibility="private",
            **options,
        )
        gr.on([], handlers.recognize_image, photo, [output, faces], api_name="recognize_image", **options)
    return photo


class _Handlers:
    """The functions behind the tab's events."""

    def __init__(self, recognizer: EmotionRecognizer) -> None:
        self._recognizer = recognizer

    def show(self, image: dict[str, Any] | None) -> tuple[dict[str, Any], str, str]:
        """Return what the page shows for a photo: the annotated photo, the overview and the cards."""
        if image is None:
            return gr.update(value=None, alt_text=None), EMPTY, ""
        try:
            analysis = analyze(self._recognizer, image)
            annotated = gr.update(value=annotate(analysis), alt_text=summarize(analysis.result.faces))
        except (ImageError, StorageFull) as error:
            message = render("error.html", title="This photo could not be processed", message=str(error))
            return gr.update(value=None, alt_text=None), message, ""
        return annotated, overview_html(analysis), cards_html(analysis)

    def recognize_image(self, image: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
        """Find every face in an image and estimate its emotion.

        Takes JPEG, PNG, WebP, AVIF, GIF (first frame), BMP or TIFF. Returns the annotated image, at most 2048 pixels
        wide or high, and an object: width, height, model, revision, detector, and faces, largest first, each with its
        box [x1, y1, x2, y2] in pixels of the original image, detection_score, landmarks, emotion, confidence and the
        probabilities of the seven emotions.

        Args:
            image: The image file.

        Returns:
            The annotated image.
            The object.
        """
        if image is None:
            raise gr.Error("Send the image as a file.", print_exception=False)
        try:
            analysis = analyze(self._recognizer, image)
            annotated = annotate(analysis)
        except (ImageError, StorageFull) as error:
            raise gr.Error(str(error), print_exception=False) from error
        result = analysis.result.to_dict()
        del result["path"]  # gradio_client would try to fetch any object with a "path" as a file
        return annotated, result


def analyze(recognizer: EmotionRecognizer, upload: dict[str, Any]) -> ImageAnalysis:
    """Read an uploaded image and recognize its faces.

    Args:
        recognizer: Recognizes the faces.
        upload: Gradio's record of the uploaded file.

    Raises:
        ImageError: The file is not an image that can be read. The message names the file without its folder.
    """
    path = uploaded_path(upload)
    try:
        rgb = read_image(path)
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), path.name)) from error
    start = time.perf_counter()
    faces = recognizer.recognize(rgb)
    seconds = time.perf_counter() - start
    crops = [recognizer.crop(rgb, face) for face in faces]
    maps = []
    if crops and "activation_map" in recognizer.classifier.checkpoint.outputs:
        _, all_maps = recognizer.classifier.explain(np.stack(crops))
        maps = [cells[..., LABELS.index(face.emotion)] for face, cells in zip(faces, all_maps, strict=True)]
    height, width = rgb.shape[:2]
    model = (recognizer.model_name, recognizer.revision, recognizer.detector_name)
    return ImageAnalysis(Result(path.name, *model, width, height, faces), rgb, crops, maps, seconds)


def annotate(analysis: ImageAnalysis) -> str:
    """Draw the faces, shrink the image to `SHOWN_SIDE` and store it as JPEG; return its path."""
    drawn = draw_faces(analysis.rgb, analysis.result.faces)
    height, width = drawn.shape[:2]
    scale = SHOWN_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        drawn = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    return store(
        encode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)), f"{Path(analysis.result.path).stem[:80]}-faces.jpg"
    )


def summarize(faces: Sequence[Face]) -> str:
    """The faces in one line: "2 faces: happy 91%, sad 47%"."""
    if not faces:
        return "No face found"
    shown = ", ".join(f"{face.emotion} {format_percent(face.confidence)}" for face in faces[:8])
    return f"{counted(len(faces), 'face')}: {shown}{', …' * (len(faces) > 8)}"


def overview_html(analysis: ImageAnalysis) -> str:
    """The number of faces, how they were found, the downloads, and advice if there are none."""
    result, stem = analysis.result, Path(analysis.result.path).stem
    size = f"{result.width} \N{MULTIPLICATION SIGN} {result.height}"
    text, csv = json.dumps(result.to_dict(), indent=2), header() + to_csv(result.rows())
    return render(
        "image_overview.html",
        count=result.count,
        facts=facts(result) | {"Time": f"{1000 * analysis.seconds:.0f} ms", "Size": size},
        downloads=[
            Download.of("JSON", f"{stem}.json", "application/json", text),
            Download.of("CSV", f"{stem}.csv", "text/csv", csv),
        ],
    )


def cards_html(analysis: ImageAnalysis) -> str:
    """A card for each face: its crop, its emotion, and a bar for each of the seven."""
    cards = [
        {"face": face, "crop_uri": crop_uri(crop), "map_uri": heat_map_uri(cells) if cells is not None else None}
        for face, crop, cells in itertools.zip_longest(analysis.result.faces, analysis.crops, analysis.maps)
    ]
    return render("image_cards.html", cards=cards)


def crop_uri(crop: np.ndarray) -> str:
    """A face's crop, gray or RGB, as a JPEG."""
    resized = cv2.resize(crop, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC)
    if resized.ndim == 3:  # of a model that takes colour
        resized = cv2.cvtColor(resized, cv2.COLOR_RGB2BGR)
    return data_uri("image/jpeg", encode(".jpg", resized))


def heat_map_uri(cells: np.ndarray) -> str:
    """A class activation map as a PNG to lay over the crop.

    It is transparent where the map is lowest and goes from dark through orange to bright yellow.
    """
    scaled = (cells - cells.min()) / max(float(np.ptp(cells)), 1e-6)
    smooth = np.clip(cv2.resize(scaled, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)
    colour = cv2.applyColorMap((255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return data_uri("image/png", encode(".png", np.dstack([colour, (200 * smooth).astype(np.uint8)])))


def encode(extension: str, image: np.ndarray) -> bytes:
    """A gray, BGR or BGRA image as the content of a file."""
    return cv2.imencode(extension, image)[1].tobytes()
