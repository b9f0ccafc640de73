"""The photo tab: photos go in; each comes back with its faces marked, and a card for each face.

The browser's part is in `ui/photo/`: `picker.js` takes photos in any way a visitor may send them, `linked.js` connects
the boxes on a photo with the cards.
"""

import json
from pathlib import Path
from typing import Any

import gradio as gr

from deepfer import EmotionRecognizer, ImageError
from deepfer.image_io import FORMAT_NAMES
from deepfer.limits import MAX_FILE_BYTES
from ui.api_page import set_example
from ui.components import render
from ui.cores import usable_cores
from ui.jpeg import encode_jpeg
from ui.language import _, label, of_request, speaking, static
from ui.limits import MAX_PHOTOS
from ui.photo_analysis import analyze, failed
from ui.photo_examples import examples
from ui.photo_view import PhotoView, results_html, view
from ui.scripts import bundle
from ui.uploads import store
from ui.usage import StorageFull

PAGE = Path(__file__).parent / "photo"
# What the chooser offers. Some systems know no type for the files that are listed by suffix.
ACCEPT = "image/*,.heic,.heif,.avif,.jp2,.tif,.tiff,.ppm,.pgm"
UNNAMED = {"DIB", "PPM", "JPEG2000"}  # formats that no visitor would look for
ASK = '() => [document.querySelector("#picture").picker.ask()]'
ANSWERED = '() => document.querySelector("#picture").picker.answered()'
UNANSWERED = '() => document.querySelector("#picture").picker.unanswered()'


def empty_html() -> str:
    """What the page shows before there is a photo."""
    return render("note.html", text=_("Add a photo or try an example. Each face will appear here, largest first."))


def image_tab(recognizer: EmotionRecognizer) -> gr.HTML:
    """Add the tab to the surrounding `gr.Tabs`, and the endpoint `/recognize_image`.

    Returns:
        The component that takes photos: its value may be set to Gradio's record of an uploaded file.
    """
    handlers = _Handlers(recognizer)
    offered = examples()
    with gr.Tab(label("Photo"), id="image"):
        picker = gr.HTML(
            html_template=static(lambda: render("image_picker.html", accept=ACCEPT, examples=offered)),
            css_template=(PAGE / "picker.css").read_text(encoding="utf-8"),
            js_on_load=bundle([PAGE / "picker.js"], "new Picker({ element, props, trigger, upload, watch });"),
            apply_default_css=False,
            elem_id="picture",
            max_photos=MAX_PHOTOS,
            max_bytes=MAX_FILE_BYTES,
            formats=", ".join(name for name in FORMAT_NAMES.split(", ") if name not in UNNAMED),
        )
        results = gr.HTML(
            static(empty_html),
            css_template=(PAGE / "results.css").read_text(encoding="utf-8"),
            js_on_load=bundle([PAGE / "linked.js"], "new Linked({ element, watch });"),
            apply_default_css=False,
            elem_id="results",
        )
        image = gr.Image(visible=False, label="Your photo", format="jpeg")  # the endpoint's argument and results
        set_example(image, "/examples/astronaut.jpg")
        output = gr.Image(visible=False, label="Annotated photo", format="jpeg")
        faces = gr.JSON(visible=False, label="Faces")

        # No `preprocess`: gr.Image would open each file itself and show just "Error" for an invalid one. `read_image`
        # has our limits and messages. Page and endpoint share one group: one request per core, the rest queue.
        options: dict[str, Any] = {
            "preprocess": False,
            "concurrency_limit": usable_cores(),
            "concurrency_id": "recognize",
        }
        running = picker.recognize(
            handlers.show,
            picker,
            results,
            js=ASK,
            show_progress="hidden",
            trigger_mode="always_last",
            api_visibility="private",
            **options,
        )
        running.success(None, js=ANSWERED, api_visibility="private")
        running.failure(None, js=UNANSWERED, api_visibility="private")
        picker.clear(None, None, results, js=static(_clear_script), api_visibility="private")
        gr.on([], handlers.recognize_image, image, [output, faces], api_name="recognize_image", **options)
    return picker


def _clear_script() -> str:
    return f"() => {json.dumps(empty_html())}"


class _Handlers:
    """The functions behind the tab's events."""

    def __init__(self, recognizer: EmotionRecognizer) -> None:
        self._recognizer = recognizer

    def show(self, chosen: list[dict[str, Any]] | dict[str, Any] | None, request: gr.Request | None = None) -> str:
        """Return what the page shows for one or several photos."""
        records = [chosen] if isinstance(chosen, dict) else chosen or []
        with speaking(of_request(request)):
            return results_html([self._view(record) for record in records]) if records else empty_html()

    def _view(self, record: dict[str, Any]) -> PhotoView:
        try:
            return view(analyze(self._recognizer, record))
        except (ImageError, StorageFull) as error:
            return PhotoView(failed(self._recognizer, record, error))

    def recognize_image(self, image: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
        """Find every face in an image and estimate the emotion that it shows.

        Takes JPEG, PNG, WebP, AVIF, HEIC, GIF (first frame), BMP or TIFF. Returns the annotated image, at most 2048
        pixels wide or high, and an object: width, height, model, revision, detector, and faces, largest first, each
        with its box [x1, y1, x2, y2] in pixels of the original image, detection_score, landmarks, emotion, confidence,
        unclear (whether no emotion stands out) and the probabilities of the seven emotions.

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
            name = f"{Path(analysis.result.path).stem[:80]}-faces.jpg"
            annotated = store(encode_jpeg(analysis.draw()), name)
        except (ImageError, StorageFull) as error:
            raise gr.Error(str(error), print_exception=False) from error
        result = analysis.result.to_dict()
        del result["path"]  # gradio_client would try to fetch any object with a "path" as a file
        return annotated, result
