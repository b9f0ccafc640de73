"""Clip: a video file of any common kind -> its frames, upright, RGB `uint8 (H, W, 3)`, with their times."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deepfer.errors import VideoError
from deepfer.image_io import printable
from deepfer.limits import MAX_VIDEO_BYTES, MAX_VIDEO_FRAMES, MAX_VIDEO_PIXELS, MAX_VIDEO_S
from deepfer.mp4 import has_index, video_s

# What a folder is searched for. Of a file given by name the content decides.
SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv",
)  # fmt: skip
# Named by their first bytes, because FFmpeg would also try what has no business here: playlists, for one, which make it
# open other files and addresses.
_SIGNATURES: tuple[tuple[int, bytes], ...] = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"),  # MP4, MOV, 3GP
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"\x00\x00\x01\xba"), (0, b"\x00\x00\x01\xb3"),  # MPEG program, elementary stream
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF: WMV
    (0, b"FLV"),
    (0, b"OggS"),
)  # fmt: skip
# A transport stream has no longer signature than a byte at the start of each packet: a "G", as many a text has.
TS_PACKET = 188  # bytes
HEAD_BYTES = 2 * TS_PACKET + 1  # of a file, which tell its kind
KINDS = "MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV, Ogg"
# MAX_VIDEO_PIXELS in words.
LARGEST = "1080p" if MAX_VIDEO_PIXELS == 1920 * 1088 else f"{MAX_VIDEO_PIXELS / 1e6:.3g} megapixels"

PREVIEW = 30  # frames whose times tell the usual frame rate


class Clip:
    """A clip's frames, upright, with their times.

    Attributes:
        name: What to call it in an error.
        width: Of the upright frames, pixels.
        height: Likewise.
        rate: Usual frames per second.
        claimed_s: Its length, as the file tells it, or None.
        read: How many frames have been read.
    """

    def __init__(self, source: str | Path) -> None:
        self.name = printable(source)
        path = _checked_file(source, self.name)
        self._capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(
                f"{self.name}: no video in it that can be read: only sound, a codec unknown here, or damaged"
            )
        width, height = self._get(cv2.CAP_PROP_FRAME_WIDTH), self._get(cv2.CAP_PROP_FRAME_HEIGHT)
        shape = self._get(cv2.CAP_PROP_SAR_NUM) / max(self._get(cv2.CAP_PROP_SAR_DEN), 1.0)
        shape = shape if 0.2 < shape < 5 else 1.0
        if self._get(cv2.CAP_PROP_ORIENTATION_META) in (90, 270):  # OpenCV has swapped the sides, but not the shape's
            self.width, self.height = round(width), round(height * shape)
        else:
            self.width, self.height = round(width * shape), round(height)
        if self.width * self.height > MAX_VIDEO_PIXELS:
            raise VideoError(f"{self.name}: larger than {LARGEST} ({self.width}x{self.height})")
        if min(self.width, self.height) < 16:
            raise VideoError(f"{self.name}: smaller than 16 pixels ({self.width}x{self.height})")
        told = self._get(cv2.CAP_PROP_FPS)
        frames = self._get(cv2.CAP_PROP_FRAME_COUNT)
        if frames > MAX_VIDEO_FRAMES:
            raise VideoError(f"{self.name}: more than {MAX_VIDEO_FRAMES:,} frames ({frames:,.0f})")
        # The frames may include some that an edit list hides; the track may last longer than its frames.
        lengths = [frames / told if told else 0.0, _track_s(path) or 0.0]
        self.claimed_s = min((length for length in lengths if length > 0), default=None)
        if self.claimed_s and self.claimed_s > MAX_VIDEO_S:
            raise VideoError(f"{self.name}: longer than {MAX_VIDEO_S / 60:.3g} minutes ({self.claimed_s / 60:.1f})")
        self.rate = _usual_rate(path, told)
        self.read = 0
        self._too_long = False

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def _get(self, what: int) -> float:
        value = self._capture.get(what)
        return value if np.isfinite(value) and 0 < value < 1e12 else 0.0

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """(time in seconds, RGB uint8 (H, W, 3)), the times rising."""
        last_s = -1.0
        while True:
            there, bgr = self._capture.read()
            if not there:
                return
            time_s = self._get(cv2.CAP_PROP_POS_MSEC) / 1000
            if time_s <= last_s:  # some containers leave times out
                time_s = last_s + 1 / self.rate
            last_s = time_s
            if time_s >= MAX_VIDEO_S or self.read >= MAX_VIDEO_FRAMES:
                self._too_long = True
                return
            self.read += 1
            if bgr.shape[1::-1] != (self.width, self.height):  # pixels that are not square, or another size midway
                bgr = cv2.resize(bgr, (self.width, self.height), interpolation=cv2.INTER_AREA)
            yield time_s, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def fault(self, duration_s: float) -> str | None:
        """What is amiss with a clip of which that much was read."""
        if self._too_long:
            return f"only its first {duration_s / 60:.3g} minutes were read"
        if self.claimed_s and duration_s < 0.95 * self.claimed_s - 0.5:
            return f"cut short or damaged: {duration_s:.1f} of {self.claimed_s:.1f} s could be read"
        return None


def may_be_video(path: Path) -> bool:
    """Whether a file found in a folder may be a clip, by its name; .ts, which TypeScript shares, by its content too."""
    suffix = path.suffix.lower()
    if suffix != ".ts":
        return suffix in SUFFIXES
    if not os.path.isfile(path):  # to open a FIFO would wait for a writer forever
        return False
    try:
        with open(path, "rb") as file:
            return _is_transport_stream(file.read(HEAD_BYTES))
    except OSError:
        return True  # it cannot be read, which is said in its turn


def _is_transport_stream(head: bytes) -> bool:
    return len(head) == HEAD_BYTES and head[::TS_PACKET] == b"GGG"


def _checked_file(source: str | Path, name: str) -> str:
    """The absolute path of what may be a clip by its first bytes: FFmpeg takes other names for addresses."""
    try:
        mode = os.stat(source).st_mode  # asked before opening: to open a FIFO would wait for a writer for ever
        if stat.S_ISDIR(mode):
            raise VideoError(f"{name}: a folder, not a clip")
        if not stat.S_ISREG(mode):
            raise VideoError(f"{name}: not a regular file")
        with open(source, "rb") as file:
            head = file.read(HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            whole = has_index(file) if head[4:8] == b"ftyp" else True
        path = os.path.abspath(source)
        path.encode()
    except UnicodeEncodeError as error:
        raise VideoError(f"{name}: its name is no valid text; rename it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise VideoError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if not size:
        raise VideoError(f"{name}: the file is empty")
    if size > MAX_VIDEO_BYTES:
        raise VideoError(f"{name}: larger than {MAX_VIDEO_BYTES / 1e9:g} GB")
    if not any(head[at:].startswith(start) for at, start in _SIGNATURES) and not _is_transport_stream(head):
        raise VideoError(f"{name}: not a clip of a kind that is read ({KINDS})")
    if not whole:
        raise VideoError(f"{name}: cut off before its index, which stands at its end, so nothing of it can be read")
    return path


def _track_s(path: str) -> float | None:
    """How long an MP4's video track says it plays, in seconds; None for other kinds."""
    with open(path, "rb") as file:
        return video_s(file) if file.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") else None


def _usual_rate(path: str, told: float) -> float:
    """Frames per second by the first frames' times; what the file tells is a mean, and off where they vary."""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    times: list[float] = []
    while len(times) < PREVIEW and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    steps = [step for step in np.diff(times) if step > 0]
    measured = 1 / float(np.median(steps)) if steps else 0.0
    if told and (not measured or abs(measured / told - 1) < 0.1):  # times come rounded to milliseconds
        measured = told
    return min(max(measured or 25.0, 1.0), 240.0)
