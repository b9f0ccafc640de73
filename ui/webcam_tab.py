"""The webcam tab: the camera's video, with every face's box, number and emotion drawn over it.

The browser's part is in `ui/webcam/`. It sends small frames to `recognize_frame`, which anyone can post to and which
bypasses Gradio's queue, so every message is checked there, and visitors take turns.
"""

import asyncio
import base64
import math
import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from deepfer import EmotionRecognizer, Face, ImageError, read_image
from deepfer.drawing import STYLES
from ui.client import client
from ui.limits import MAX_FRAME_BYTES, MAX_FRAME_DECODE_S, MAX_FRAME_SIDE
from ui.visitors import Busy, Visitor, Visitors, cores

PAGE = Path(__file__).parent / "webcam"
TOKEN = re.compile("[0-9a-f]{32}")
MAX_TIME_S = 1e9  # of a frame: a page that is open for thirty years
# Light, so that dark numbers can be read on them; it is the numbers that tell people apart for everyone.
PEOPLE = ("#f5f5f4", "#5eead4", "#f9a8d4", "#bef264", "#c4b5fd", "#fdba74")
# Gradio passes over to its components what this gives: the snapshot to the picture, the tab's name to the tabs.
SNAPSHOT = '() => [document.querySelector("#webcam").snapshot, {selected: "image", __type__: "update"}]'


def webcam_tab(recognizer: EmotionRecognizer, tabs: gr.Tabs, picture: gr.Image) -> None:
    """Add the tab to the `gr.Tabs` around it.

    Args:
        recognizer: What recognizes the faces.
        tabs: The tabs, of which a snapshot opens "image".
        picture: What takes a snapshot there.
    """
    visitors = Visitors(slots=cores())
    quick = recognizer.for_frames()

    async def recognize_frame(message: Any, request: gr.Request) -> dict[str, Any]:
        """What a visitor's frame shows: {"faces": […]}; or {"late": true}, {"busy": true}, or {"error": "…"}.

        Args:
            message: {"token", "time_s", "frame"}: what tells the visitor from others, when the frame was taken by the
                visitor's clock, and the JPEG in base64. It comes as text, not as a file: Gradio writes files to disk.
            request: Gradio puts it in.
        """
        try:
            token, time_s, frame = checked(message)
            await visitors.meet(token, client(request), lambda: asyncio.to_thread(decoded, frame))
            async with visitors.turn(token) as visitor:
                faces = await asyncio.to_thread(look, quick, visitor, time_s, frame)
            if faces:
                visitors.found_face(token, visitor)
        except ImageError as error:
            return {"error": str(error)}
        except Busy:
            return {"busy": True}
        return {"late": True} if faces is None else {"faces": [face.to_dict() for face in faces]}

    with gr.Tab("Webcam", id="webcam"):
        camera = gr.HTML(
            html_template=(PAGE / "webcam.html").read_text(encoding="utf-8"),
            css_template=(PAGE / "webcam.css").read_text(encoding="utf-8"),
            js_on_load=script(),
            apply_default_css=False,
            server_functions=[recognize_frame],
            emotions=[{"label": label, "colour": style.hex, "emoji": style.emoji} for label, style in STYLES.items()],
            people=PEOPLE,
        )
        camera.snapshot(None, None, [picture, tabs], js=SNAPSHOT)


def checked(message: Any) -> tuple[str, float, str]:
    """A message's token, time and frame, which is still text.

    Raises:
        ImageError: It is no such message; the words are for whoever made it.
    """
    if not isinstance(message, dict):
        raise ImageError("send one object: token, time_s and frame")
    token, time_s, frame = message.get("token"), message.get("time_s"), message.get("frame")
    if not (isinstance(token, str) and TOKEN.fullmatch(token)):
        raise ImageError("token must be 32 hexadecimal digits")
    if isinstance(time_s, bool) or not (isinstance(time_s, int | float) and 0 <= time_s <= MAX_TIME_S):
        raise ImageError("time_s must be a number of seconds")
    if not isinstance(frame, str):
        raise ImageError("frame must be a JPEG in base64")
    if len(frame) > 4 * math.ceil(MAX_FRAME_BYTES / 3):
        raise ImageError(f"a frame may have {MAX_FRAME_BYTES // 1000} KB at most")
    return token, time_s, frame


def decoded(frame: str) -> np.ndarray:
    """A frame's picture: RGB uint8 (height, width, 3).

    Raises:
        ImageError: It is no picture, or one past a limit.
    """
    try:
        data = base64.b64decode(frame, validate=True)
    except ValueError as error:
        raise ImageError("frame must be a JPEG in base64") from error
    return read_image(data, max_side=MAX_FRAME_SIDE, max_decode_s=MAX_FRAME_DECODE_S)


def look(recognizer: EmotionRecognizer, visitor: Visitor, time_s: float, frame: str) -> list[Face] | None:
    """The faces in a frame, numbered and smoothed over the visitor's earlier ones; None if a newer one was first.

    Raises:
        ImageError: It is no picture, or one past a limit.
    """
    rgb = decoded(frame)
    faces = recognizer.recognize(rgb)
    with visitor.lock:
        return visitor.tracker.update(faces, time_s, size=(rgb.shape[1], rgb.shape[0]))


def script() -> str:
    """The modules of `ui/webcam/` as one script, since Gradio runs `js_on_load` as the body of a function."""
    modules = [path.read_text(encoding="utf-8") for path in sorted(PAGE.glob("*.js"))]
    code = re.sub(r"^(import .*\n|export )", "", "\n".join(modules), flags=re.MULTILINE)
    return f"{code}\nnew Webcam({{ element, props, trigger, server, upload }});"
