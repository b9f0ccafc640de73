"""VideoReader: reads a video file of any common format as upright RGB frames `uint8 (H, W, 3)` with their times."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from deepfer.errors import VideoError
from deepfer.limits import (
    MAX_VIDEO_BYTES,
    MAX_VIDEO_DECODED_PIXELS,
    MAX_VIDEO_FRAME_PIXELS,
    MAX_VIDEO_FRAMES,
    MAX_VIDEO_PIXELS,
    MAX_VIDEO_S,
)
from deepfer.mp4 import has_index, video_s
from deepfer.text import Message, printable

# A folder is searched for these. A file given by name is checked by its content.
SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv",
)  # fmt: skip
# (offset, first bytes) of the supported formats. FFmpeg would also try unsafe ones: playlists make it open other files
# and addresses.
_SIGNATURES: tuple[tuple[int, bytes], ...] = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"),  # MP4, MOV, 3GP
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"\x00\x00\x01\xba"), (0, b"\x00\x00\x01\xb3"),  # MPEG program, elementary stream
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF: WMV
    (0, b"FLV"),
    (0, b"OggS"),
)  # fmt: skip
# A transport stream has no signature except a "G" at the start of each packet; a text may begin with a "G", too.
TS_PACKET = 188  # bytes
HEAD_BYTES = 2 * TS_PACKET + 1  # read from a file to detect its format
FORMATS = "MP4, MOV, WebM, MKV, AVI, MPEG, WMV, FLV, Ogg"
LARGEST = MAX_VIDEO_FRAME_PIXELS / 1e6  # megapixels

PREVIEW = 30  # frames from which the usual frame rate is measured


class VideoReader:
    """The upright frames of a video with their times.

    Attributes:
        name: The file's name, for messages.
        original: `(width, height)` of the upright frames in the file, in square pixels.
        width: Width in pixels of the returned frames, which are scaled down to at most `MAX_VIDEO_PIXELS`.
        height: Their height.
        rate: Frames per second; the usual rate if it varies.
        claimed_s: The length in seconds according to the file, or None.
        read: The number of frames read so far.
    """

    def __init__(self, source: str | Path) -> None:
        self.name = printable(source)
        path = _checked_file(source, self.name)
        self._capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(
                "%(name)s: no readable video: it has only sound or an unsupported codec, or is damaged", name=self.name
            )
        width, height = self._get(cv2.CAP_PROP_FRAME_WIDTH), self._get(cv2.CAP_PROP_FRAME_HEIGHT)
        shape = self._get(cv2.CAP_PROP_SAR_NUM) / max(self._get(cv2.CAP_PROP_SAR_DEN), 1.0)
        shape = shape if 0.2 < shape < 5 else 1.0
        if self._get(cv2.CAP_PROP_ORIENTATION_META) in (90, 270):  # OpenCV swaps the sides, but not the aspect ratio
            self.original = round(width), round(height * shape)
        else:
            self.original = round(width * shape), round(height)
        pixels = self.original[0] * self.original[1]
        facts = {"name": self.name, "size": f"{self.original[0]}x{self.original[1]}"}
        if max(pixels, width * height) > MAX_VIDEO_FRAME_PIXELS:
            raise VideoError("%(name)s: frames of more than %(limit).3g megapixels (%(size)s)", **facts, limit=LARGEST)
        if min(self.original) < 16:
            raise VideoError("%(name)s: smaller than 16 pixels (%(size)s)", **facts)
        self.width, self.height = self.original
        if pixels > MAX_VIDEO_PIXELS:
            scale = (MAX_VIDEO_PIXELS / pixels) ** 0.5
            self.width, self.height = (max(8, int(side * scale) // 8 * 8) for side in self.original)  # 4K: 1080p
        claimed_rate = self._get(cv2.CAP_PROP_FPS)
        frames = self._get(cv2.CAP_PROP_FRAME_COUNT)
        self._max_frames = min(MAX_VIDEO_FRAMES, int(MAX_VIDEO_DECODED_PIXELS / (width * height)))
        if frames > self._max_frames:
            raise VideoError(
                "%(name)s: more than %(limit)s frames of %(size)s (%(frames)s)",
                **facts,
                limit=format(self._max_frames, ","),
                frames=format(frames, ",.0f"),
            )
        # Some frames may be hidden by an edit list; the track may last longer than its frames.
        lengths = [frames / claimed_rate if claimed_rate else 0.0, _track_s(path) or 0.0]
        self.claimed_s = min((length for length in lengths if length > 0), default=None)
        if self.claimed_s and self.claimed_s > MAX_VIDEO_S:
            raise VideoError(
                "%(name)s: longer than %(limit).3g minutes (%(minutes).1f)",
                name=self.name,
                limit=MAX_VIDEO_S / 60,
                minutes=self.claimed_s / 60,
            )
        self.rate = _usual_rate(path, claimed_rate)
        self.read = 0
        self._too_long = False

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def _get(self, property_id: int) -> float:
        value = self._capture.get(property_id)
        return value if np.isfinite(value) and 0 < value < 1e12 else 0.0

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """(time in seconds, RGB uint8 (H, W, 3)), with increasing times."""
        last_s = -1.0
        while True:
            success, bgr = self._capture.read()
            if not success:
                return
            time_s = self._get(cv2.CAP_PROP_POS_MSEC) / 1000
            if time_s <= last_s:  # some containers lack times
                time_s = last_s + 1 / self.rate
            last_s = time_s
            if time_s >= MAX_VIDEO_S or self.read >= self._max_frames:
                self._too_long = True
                return
            self.read += 1
            if bgr.shape[1::-1] != (self.width, self.height):  # larger, not square pixels, or the size changed
                bgr = cv2.resize(bgr, (self.width, self.height), interpolation=cv2.INTER_AREA)
            yield time_s, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def warning(self, duration_s: float) -> Message | None:
        """Why only `duration_s` seconds could be read, or None if that is all."""
        if self._too_long:
            return Message("only the first %(minutes).3g minutes were read", minutes=duration_s / 60)
        if self.claimed_s and duration_s < 0.95 * self.claimed_s - 0.5:
            return Message(
                "truncated or damaged: %(read).1f of %(length).1f s could be read",
                read=duration_s,
                length=self.claimed_s,
            )
        return None


def may_be_video(path: Path) -> bool:
    """Whether a file in a folder is a video by its name; for .ts, which TypeScript also uses, by its content, too."""
    suffix = path.suffix.lower()
    if suffix != ".ts":
        return suffix in SUFFIXES
    if not os.path.isfile(path):  # opening a FIFO waits for a writer forever
        return False
    try:
        with open(path, "rb") as file:
            return _is_transport_stream(file.read(HEAD_BYTES))
    except OSError:
        return True  # reading it will report the error


def _is_transport_stream(head: bytes) -> bool:
    return len(head) == HEAD_BYTES and head[::TS_PACKET] == b"GGG"


def _checked_file(source: str | Path, name: str) -> str:
    """Check that a file begins like a video. Returns its absolute path, which FFmpeg cannot mistake for a URL."""
    try:
        mode = os.stat(source).st_mode  # checked first: opening a FIFO waits for a writer forever
        if stat.S_ISDIR(mode):
            raise VideoError("%(name)s: a folder, not a video", name=name)
        if not stat.S_ISREG(mode):
            raise VideoError("%(name)s: not a regular file", name=name)
        with open(source, "rb") as file:
            head = file.read(HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            complete = has_index(file) if head[4:8] == b"ftyp" else True
        path = os.path.abspath(source)
        path.encode()
    except UnicodeEncodeError as error:
        raise VideoError("%(name)s: its name is not valid text; rename it", name=name) from error
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        reason = getattr(error, "strerror", None) or error
        raise VideoError("%(name)s: %(reason)s", name=name, reason=reason) from error
    if not size:
        raise VideoError("%(name)s: the file is empty", name=name)
    if size > MAX_VIDEO_BYTES:
        raise VideoError("%(name)s: larger than %(limit)g GB", name=name, limit=MAX_VIDEO_BYTES / 1e9)
    if not any(head[at:].startswith(start) for at, start in _SIGNATURES) and not _is_transport_stream(head):
        raise VideoError("%(name)s: not a video of a supported format (%(formats)s)", name=name, formats=FORMATS)
    if not complete:
        raise VideoError("%(name)s: truncated MP4: the index (moov) is missing", name=name)
    return path


def _track_s(path: str) -> float | None:
    """The duration of an MP4's video track in seconds; None for other formats."""
    with open(path, "rb") as file:
        return video_s(file) if file.read(8)[4:] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") else None


def _usual_rate(path: str, claimed: float) -> float:
    """Frames per second, measured from the first frames: the file's figure is a mean, wrong if the rate varies."""
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    times: list[float] = []
    while len(times) < PREVIEW and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    steps = [step for step in np.diff(times) if step > 0]
    measured = 1 / float(np.median(steps)) if steps else 0.0
    if claimed and (not measured or abs(measured / claimed - 1) < 0.1):  # times are rounded to milliseconds
        measured = claimed
    return min(max(measured or 25.0, 1.0), 240.0)
