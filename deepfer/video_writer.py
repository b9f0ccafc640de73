"""VideoWriter: frames with their times -> a video file that browsers play."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.errors import VideoError
from deepfer.image_io import aside
from deepfer.limits import MAX_VIDEO_PIXELS

H264_FPS, VP8_FPS = 60.0, 30.0  # the most that are written
# OpenCV cannot tell VP8 to hurry: larger frames are shrunk, to be done before the clip has played.
VP8_PIXELS = 854 * 480
QUALITY = {"libx264": "-preset veryfast -crf 21", "libopenh264": "-b:v 4M"}


def video_suffix() -> str:
    """What an annotated clip's name ends in: ".mp4" (H.264) where the machine's ffmpeg can encode it, else ".webm".

    The latter is VP8 by OpenCV. Browsers play both.
    """
    return ".mp4" if _h264() else ".webm"


class VideoWriter:
    """A clip at a steady frame rate, encoded in a thread of its own; written aside and renamed when it is whole.

    A context: left before `finish`, it leaves nothing behind.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        """Start a clip.

        Args:
            path: Where to; its name must end in `video_suffix()`.
            size: Of the frames, `(width, height)`; VP8 is written at 480p at most.
            fps: Frames per second, as they mostly come; at most 60 (H.264) or 30 (VP8) are written.

        Raises:
            ValueError: `path` is named for another kind.
            OSError: It cannot be written there.
        """
        if path.suffix != video_suffix():
            raise ValueError(f"{path}: a clip is written as {video_suffix()} here")
        self._path, self._aside = path, aside(path)
        encoder = _h264()
        pixels, most_fps = (MAX_VIDEO_PIXELS, H264_FPS) if encoder else (VP8_PIXELS, VP8_FPS)
        self._fps = min(fps, most_fps)
        scale = min(1.0, (pixels / (size[0] * size[1])) ** 0.5)
        self._size = round(size[0] * scale), round(size[1] * scale)
        self._ticks = 0  # frames written
        self._frame: np.ndarray | None = None  # the one that stands until the next one's time
        self._fault: VideoError | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._frames: queue.Queue[np.ndarray | None] = queue.Queue(maxsize=4)
        self._thread = threading.Thread(target=self._encode, daemon=True)
        try:
            self._aside.touch()  # what is in the way is told here, by the system, not by an encoder
            self._encoder: Any = self._start_ffmpeg(encoder) if encoder else self._start_opencv()
            self._thread.start()
        except BaseException:  # Ctrl-C too
            self._log.close()
            self._aside.unlink(missing_ok=True)
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._encoder, subprocess.Popen):
            self._encoder.kill()
        self._close()
        self._log.close()
        self._aside.unlink(missing_ok=True)

    def write(self, time_s: float, rgb: np.ndarray) -> None:
        """Take the next frame, RGB uint8 `(H, W, 3)`; the one before it stands until `time_s`.

        Raises:
            VideoError: The encoder has failed.
        """
        if self._fault:
            raise self._fault
        self._stand_until(time_s)
        self._frame = rgb

    def finish(self, duration_s: float, sound: str | Path) -> str | None:
        """Write the last frame, add the sound of the clip `sound` where there is an ffmpeg, and rename.

        Returns:
            What is amiss with the sound, or None.

        Raises:
            VideoError: The encoder has failed.
        """
        self._stand_until(max(duration_s, 1 / self._fps))
        self._close()
        failed = self._encoder.returncode if isinstance(self._encoder, subprocess.Popen) else not self._is_whole()
        if failed:
            self._fault = self._fault or self._failure()
        if self._fault:
            raise self._fault
        amiss = None if self._add_sound(duration_s, sound) else "its sound could not be kept"
        self._aside.replace(self._path)
        return amiss

    def _start_ffmpeg(self, encoder: str) -> subprocess.Popen[bytes]:
        width, height = self._size
        # Padded, as the half resolution of colours needs even sides.
        told = (
            f"-v error -nostdin -y -f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._fps:.6f} -i pipe:0 "
            f"-vf pad=ceil(iw/2)*2:ceil(ih/2)*2 -pix_fmt yuv420p -c:v {encoder} {QUALITY[encoder]} "
            "-movflags +faststart -f mp4"
        )
        return subprocess.Popen(
            [_ffmpeg(), *told.split(), str(self._aside)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    def _start_opencv(self) -> Any:
        kind = cv2.VideoWriter.fourcc(*"VP80")
        encoder = cv2.VideoWriter(str(self._aside), cv2.CAP_FFMPEG, kind, self._fps, self._size)
        if not encoder.isOpened():
            raise VideoError(f"{self._path}: OpenCV cannot write VP8 here")
        return encoder

    def _stand_until(self, time_s: float) -> None:
        """Write the frame that stands as often as it takes."""
        ticks = round(time_s * self._fps) - self._ticks
        if self._frame is None or ticks <= 0:
            return
        frame = self._frame
        if frame.shape[1::-1] != self._size:
            frame = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)
        for _ in range(ticks):
            self._frames.put(frame)
        self._ticks += ticks

    def _encode(self) -> None:
        """The thread's work. After a fault the queue goes on being emptied, so that nobody waits at it."""
        while (rgb := self._frames.get()) is not None:
            if self._fault:
                continue
            if not isinstance(self._encoder, subprocess.Popen):
                self._encoder.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
                continue
            assert self._encoder.stdin
            try:
                self._encoder.stdin.write(np.ascontiguousarray(rgb))
            except OSError:  # ffmpeg has gone
                self._fault = self._failure()

    def _close(self) -> None:
        self._frames.put(None)
        self._thread.join()
        if not isinstance(self._encoder, subprocess.Popen):
            self._encoder.release()
            return
        assert self._encoder.stdin
        with contextlib.suppress(OSError):
            self._encoder.stdin.close()
        self._encoder.wait()

    def _is_whole(self) -> bool:
        """Whether the last frame can be read back: OpenCV says nothing of a disk that was full."""
        written = cv2.VideoCapture(str(self._aside), cv2.CAP_FFMPEG)
        try:
            written.set(cv2.CAP_PROP_POS_FRAMES, self._ticks - 1)
            before_last_ms = 1000 * (self._ticks - 2) / self._fps  # times are rounded
            return written.grab() and written.get(cv2.CAP_PROP_POS_MSEC) >= before_last_ms
        finally:
            written.release()

    def _failure(self) -> VideoError:
        self._log.seek(0)
        said = self._log.read(10_000).decode(errors="replace").strip().splitlines()
        silent = "ffmpeg stopped" if isinstance(self._encoder, subprocess.Popen) else "is the disk full?"
        return VideoError(f"{self._path}: cannot be encoded: {said[-1] if said else silent}")

    def _add_sound(self, duration_s: float, sound: str | Path) -> bool:
        """Whether it has the sound now, if there is any to have."""
        if not _ffmpeg():
            return True
        whole = aside(self._path)
        codec, kind = ("aac", "-movflags +faststart -f mp4") if self._path.suffix == ".mp4" else ("libopus", "-f webm")
        command = [_ffmpeg(), "-v", "error", "-nostdin", "-y", "-i", str(self._aside)]
        command += ["-protocol_whitelist", "file", "-i", os.path.abspath(sound)]
        # What the original says of place and device stays with it.
        told = (
            f"-map 0:v:0 -map 1:a:0? -map_metadata -1 -c:v copy -c:a {codec} -b:a 128k -ac 2 -t {duration_s:.3f} {kind}"
        )
        try:
            done = subprocess.run([*command, *told.split(), str(whole)], stdout=subprocess.DEVNULL, stderr=self._log)
            if not done.returncode:
                whole.replace(self._aside)
            return not done.returncode
        finally:
            whole.unlink(missing_ok=True)


def _ffmpeg() -> str:
    """The machine's ffmpeg, or ""."""
    return shutil.which("ffmpeg") or ""


def _h264() -> str | None:
    """The H.264 encoder of the machine's ffmpeg, or None."""
    program = _ffmpeg()
    return _h264_of(program) if program else None


@lru_cache
def _h264_of(program: str) -> str | None:
    try:
        told = subprocess.run(
            [program, "-hide_banner", "-encoders"], capture_output=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return next((name for name in QUALITY if f" {name} ".encode() in told), None)
