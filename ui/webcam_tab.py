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
from ui.client import client_address
from ui.components import render
from ui.cores import usable_cores
from ui.frames import Busy, FrameScheduler, Visitor
from ui.language import explain, label, of_request, speaking, static
from ui.limits import MAX_FRAME_BYTES, MAX_FRAME_DECODE_S, MAX_FRAME_SIDE
from ui.scripts import bundle

PAGE = Path(__file__).parent / "webcam"
TOKEN = re.compile("[0-9a-f]{32}")
MAX_TIME_S = 1e9  # of a frame: the page would have been open for thirty years
# Light colours, so that dark numbers are readable on them. Numbers, not only colours, tell people apart.
PEOPLE = ("#f5f5f4", "#5eead4", "#f9a8d4", "#bef264", "#c4b5fd", "#fdba74")
# Runs in the browser. Its results go to the outputs: the snapshot to the photo, the update to the tabs.
SNAPSHOT = '() => [document.querySelector("#webcam").snapshot, {selected: "image", __type__: "update"}]'


def webcam_tab(recognizer: EmotionRecognizer, tabs: gr.Tabs, photo: gr.HTML) -> None:
    """Add the tab to the surrounding `gr.Tabs`.

    Args:
        recognizer: Recognizes the faces.
        tabs: The tabs, of which a snapshot opens "image".
        photo: The component there that takes the snapshot.
    """
    scheduler = FrameScheduler(slots=usable_cores())
    frame_recognizer = recognizer.for_frames()

    async def recognize_frame(message: Any, request: gr.Request) -> dict[str, Any]:
        """Recognize the faces in a frame.

        Args:
            message: {"token", "time_s", "frame"}: the visitor's token, the frame's time by the visitor's clock, and the
                JPEG in base64. The frame is text, not a file, because Gradio writes files to disk.
            request: Filled in by Gradio.

        Returns:
            {"faces": […]}; {"late": true} if a newer frame was first; {"busy": true} if the frame was dropped; or
            {"error": "…"}.
        """
        try:
            token, time_s, frame = parse_message(message)
            await scheduler.admit(token, client_address(request), lambda: asyncio.to_thread(decode_frame, frame))
            async with scheduler.slot(token) as visitor:
                faces = await asyncio.to_thread(track_faces, frame_recognizer, visitor, time_s, frame)
            if faces:
                scheduler.found_face(token, visitor)
        except ImageError as error:
            with speaking(of_request(request)):
                return {"error": explain(error)}
        except Busy:
            return {"busy": True}
        return {"late": True} if faces is None else {"faces": [face.to_dict() for face in faces]}

    with gr.Tab(label("Webcam"), id="webcam"):
        camera = gr.HTML(
            html_template=static(lambda: render("webcam.html")),
            css_template=(PAGE / "webcam.css").read_text(encoding="utf-8"),
            js_on_load=script(),
            apply_default_css=False,
            server_functions=[recognize_frame],
            emotions=[{"label": label, "colour": style.hex, "emoji": style.emoji} for label, style in STYLES.items()],
            people=PEOPLE,
        )
        camera.snapshot(None, None, [photo, tabs], js=SNAPSHOT)


def parse_message(message: Any) -> tuple[str, float, str]:
    """A message's token, time and frame (still in base64).

    Raises:
        ImageError: The message is malformed.
    """
    if not isinstance(message, dict):
        raise ImageError("expected an object with token, time_s and frame")
    token, time_s, frame = message.get("token"), message.get("time_s"), message.get("frame")
    if not (isinstance(token, str) and TOKEN.fullmatch(token)):
        raise ImageError("token must be 32 hexadecimal digits")
    if isinstance(time_s, bool) or not (isinstance(time_s, int | float) and 0 <= time_s <= MAX_TIME_S):
        raise ImageError("time_s must be a number of seconds")
    if not isinstance(frame, str):
        raise ImageError("frame must be a JPEG in base64")
    if len(frame) > 4 * math.ceil(MAX_FRAME_BYTES / 3):
        raise ImageError("frame must not exceed %(limit)d KB", limit=MAX_FRAME_BYTES // 1000)
    return token, time_s, frame


def decode_frame(frame: str) -> np.ndarray:
    """A frame's image, RGB uint8 `(H, W, 3)`.

    Raises:
        ImageError: It is not an image, or exceeds a limit.
    """
    try:
        data = base64.b64decode(frame, validate=True)
    except ValueError as error:
        raise ImageError("frame must be a JPEG in base64") from error
    return read_image(data, max_side=MAX_FRAME_SIDE, max_decode_s=MAX_FRAME_DECODE_S)


def track_faces(recognizer: EmotionRecognizer, visitor: Visitor, time_s: float, frame: str) -> list[Face] | None:
    """The faces in a frame, numbered and smoothed over the visitor's earlier ones; None if a newer frame was first.

    Raises:
        ImageError: It is not an image, or exceeds a limit.
    """
    rgb = decode_frame(frame)
    faces = recognizer.recognize(rgb)
    with visitor.lock:
        return visitor.tracker.update(faces, time_s, size=(rgb.shape[1], rgb.shape[0]))


def script() -> str:
    """The modules of `ui/webcam/` as one script."""
    return bundle(PAGE.glob("*.js"), "new Webcam({ element, props, trigger, server, upload });")
