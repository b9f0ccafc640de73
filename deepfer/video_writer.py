"""VideoWriter: writes frames with their times to a video file that browsers play."""

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

import cv2
import numpy as np

from deepfer.atomic import temporary_sibling
from deepfer.errors import VideoError
from deepfer.limits import MAX_VIDEO_PIXELS
from deepfer.text import Message

H264_FPS, VP8_FPS = 60.0, 30.0  # maximum frame rates
# OpenCV has no speed setting for VP8, so frames are downscaled to encode faster than the video plays.
VP8_PIXELS = 854 * 480
QUALITY = {"libx264": "-preset veryfast -crf 21", "libopenh264": "-b:v 4M"}


def video_suffix() -> str:
    """The suffix of annotated videos: ".mp4" (H.264) if the installed ffmpeg can encode it, else ".webm".

    The latter is VP8, encoded by OpenCV. Browsers play both.
    """
    return ".mp4" if _h264_codec() else ".webm"


class VideoWriter:
    """Writes a video of constant frame rate atomically, encoding it in a thread.

    It is a context manager: if you leave it before `finish`, nothing remains on disk.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        """Start a video.

        Args:
            path: Its suffix must be `video_suffix()`.
            size: `(width, height)` of the frames; VP8 is downscaled to 480p.
            fps: Usual frames per second of the input; at most 60 (H.264) or 30 (VP8) are written.

        Raises:
            ValueError: `path` has another suffix.
            OSError: It cannot be written.
        """
        if path.suffix != video_suffix():
            raise ValueError(f"{path}: the name must end in {video_suffix()} on this machine")
        self._path, self._temporary = path, temporary_sibling(path)
        codec = _h264_codec()
        pixels, max_fps = (MAX_VIDEO_PIXELS, H264_FPS) if codec else (VP8_PIXELS, VP8_FPS)
        self._fps = min(fps, max_fps)
        scale = min(1.0, (pixels / (size[0] * size[1])) ** 0.5)
        self._size = round(size[0] * scale), round(size[1] * scale)
        self._count = 0  # frames written
        self._frame: np.ndarray | None = None  # shown until the next one's time
        self._failed = False
        self._frames: queue.Queue[np.ndarray | None] = queue.Queue(maxsize=4)
        self._thread = threading.Thread(target=self._encode, daemon=True)
        try:
            self._temporary.touch()  # raises the system's own error, which is clearer than an encoder's
            self._encoder: _FfmpegEncoder | _OpenCVEncoder
            if codec:
                self._encoder = _FfmpegEncoder(self._temporary, self._size, self._fps, codec)
            else:
                self._encoder = _OpenCVEncoder(self._temporary, self._size, self._fps)
            if not self._encoder.opened:
                raise self._error()
            self._thread.start()
        except BaseException:  # Ctrl-C too
            self._temporary.unlink(missing_ok=True)
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._encoder.kill()
        self._close()
        self._temporary.unlink(missing_ok=True)

    def write(self, time_s: float, rgb: np.ndarray) -> None:
        """Add a frame, RGB uint8 `(H, W, 3)`. The previous one is shown until `time_s`.

        Raises:
            VideoError: The encoder has failed.
        """
        if self._failed:
            raise self._error()
        self._repeat_until(time_s)
        self._frame = rgb

    def finish(self, duration_s: float, source: str | Path) -> Message | None:
        """Write the last frame, add the sound of the video `source` if ffmpeg is installed, and rename the file.

        Returns:
            A warning if the sound is lost, or None.

        Raises:
            VideoError: The encoder has failed.
        """
        self._repeat_until(max(duration_s, 1 / self._fps))
        self._close()
        if self._failed or not self._encoder.succeeded(self._count):
            raise self._error()
        warning = None if self._add_sound(duration_s, source) else Message("its sound could not be kept")
        self._temporary.replace(self._path)
        return warning

    def _error(self) -> VideoError:
        return VideoError("%(name)s: cannot be encoded: %(reason)s", name=self._path, reason=self._encoder.error())

    def _repeat_until(self, time_s: float) -> None:
        """Write the current frame as often as it takes to reach `time_s`."""
        count = round(time_s * self._fps) - self._count
        if self._frame is None or count <= 0:
            return
        frame = self._frame
        if frame.shape[1::-1] != self._size:
            frame = cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA)
        for _ in range(count):
            self._frames.put(frame)
        self._count += count

    def _encode(self) -> None:
        """The thread's work. After a failure it still empties the queue, so that `_repeat_until` never blocks."""
        while (rgb := self._frames.get()) is not None:
            if not self._failed:
                try:
                    self._encoder.write(rgb)
                except OSError:
                    self._failed = True

    def _close(self) -> None:
        self._frames.put(None)
        self._thread.join()
        self._encoder.close()

    def _add_sound(self, duration_s: float, source: str | Path) -> bool:
        """Copy the sound of `source`, if there is any. Returns whether that succeeded."""
        if not _ffmpeg():
            return True
        with_sound = temporary_sibling(self._path)
        mp4 = self._path.suffix == ".mp4"
        codec, output = ("aac", "-movflags +faststart -f mp4") if mp4 else ("libopus", "-f webm")
        command = [_ffmpeg(), "-v", "error", "-nostdin", "-y", "-i", str(self._temporary)]
        command += ["-protocol_whitelist", "file", "-i", os.path.abspath(source)]
        # -map_metadata -1 drops the original's metadata, such as place and device.
        options = f"-map 0:v:0 -map 1:a:0? -map_metadata -1 -c:v copy -c:a {codec} -b:a 128k -ac 2"
        command += [*options.split(), "-t", f"{duration_s:.3f}", *output.split(), str(with_sound)]
        try:
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if done.returncode == 0:
                with_sound.replace(self._temporary)
            return done.returncode == 0
        finally:
            with_sound.unlink(missing_ok=True)


class _FfmpegEncoder:
    """Encodes H.264 with the ffmpeg program."""

    opened = True

    def __init__(self, path: Path, size: tuple[int, int], fps: float, codec: str) -> None:
        # Padded because the halved resolution of colours needs even sides.
        options = (
            f"-v error -nostdin -y -f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r {fps:.6f} -i pipe:0 "
            f"-vf pad=ceil(iw/2)*2:ceil(ih/2)*2 -pix_fmt yuv420p -c:v {codec} {QUALITY[codec]} "
            "-movflags +faststart -f mp4"
        )
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            [_ffmpeg(), *options.split(), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    def write(self, rgb: np.ndarray) -> None:
        """Raises an `OSError` if ffmpeg has exited."""
        assert self._process.stdin
        self._process.stdin.write(np.ascontiguousarray(rgb).data)

    def close(self) -> None:
        if self._log.closed:
            return
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        with self._log:
            self._log.seek(0)
            lines = self._log.read(10_000).decode(errors="replace").strip().splitlines()
        self._message = lines[-1] if lines else "ffmpeg stopped"

    def kill(self) -> None:
        self._process.kill()

    def succeeded(self, count: int) -> bool:
        return self._process.returncode == 0

    def error(self) -> str:
        self.close()
        return self._message


class _OpenCVEncoder:
    """Encodes VP8 with OpenCV."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), fps, size)
        self.opened = self._writer.isOpened()

    def write(self, rgb: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()

    def kill(self) -> None:
        """There is no process to kill."""

    def succeeded(self, count: int) -> bool:
        """Whether the last of `count` frames can be read back: OpenCV does not report a full disk."""
        written = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        try:
            written.set(cv2.CAP_PROP_POS_FRAMES, count - 1)
            before_last_ms = 1000 * (count - 2) / self._fps  # times are rounded
            return bool(written.grab() and written.get(cv2.CAP_PROP_POS_MSEC) >= before_last_ms)
        finally:
            written.release()

    def error(self) -> str:
        return "is the disk full?" if self.opened else "OpenCV has no VP8 encoder"


def _ffmpeg() -> str:
    """The path of the installed ffmpeg, or ""."""
    return shutil.which("ffmpeg") or ""


def _h264_codec() -> str | None:
    """The H.264 encoder of the installed ffmpeg, or None."""
    program = _ffmpeg()
    return _h264_codec_of(program) if program else None


@lru_cache
def _h264_codec_of(program: str) -> str | None:
    try:
        encoders = subprocess.run(
            [program, "-hide_banner", "-encoders"], capture_output=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return next((name for name in QUALITY if f" {name} ".encode() in encoders), None)
