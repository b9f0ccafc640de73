"""Every limit on what comes from outside, with its reason, in one place.

Who runs DeepFER may set another: the environment's DEEPFER_MAX_PIXELS stands for MAX_PIXELS, and so on. They are read
once, when this is imported; nobody can set one from outside.
"""

import math
import os

from deepfer.errors import LimitError

MAX_FILE_BYTES = 100_000_000  # a 50-megapixel camera's largest JPEG is about 40 MB, its PNG about 90
MAX_PIXELS = 64_000_000  # checked in the header, before decoding; RGB of this size takes 192 MB
MAX_DECODE_S = 2.0  # of one core, estimated from the header: a 50-megapixel JPEG of 40 MB takes about one
MAX_FACES = 256  # the largest faces are kept: more than a class photo holds, and a bound on time and memory
MAX_MODEL_BYTES = 100_000_000  # ResNet50V2 in float32 is 94 MB; a larger file is no small face model
MAX_TENSOR_BYTES = 600_000_000  # all of a model's, and all that its trial takes; ResNet50V2 at 224 pixels: about 300 MB
MODEL_TRIAL_S = 5  # of processor time for a model's first answer, with starting a Python for it: usually one
HUB_TIMEOUT_S = 8.0  # how long the Hub may be silent; with set-up before it, that is told within 15 s
MAX_CONFIG_BYTES = 1_000_000  # a checkpoint's config.json has a few kilobytes
MAX_VIDEO_BYTES = 2_000_000_000  # ten minutes of a phone's 1080p are about 1.3 GB
MAX_VIDEO_S = 600.0  # ten minutes: a bound on time and on what is written
MAX_VIDEO_PIXELS = 1920 * 1088  # 1080p, as codecs round it, either way up: what two cores read and write at speed
MAX_VIDEO_FRAMES = 150_000  # ten minutes of slow motion at 240 a second, where the times in the file say nothing
MAX_VIDEO_PEOPLE = 1_000  # of a clip's people, those seen for longest: a bound on memory and on the answer
MAX_FRAME_BYTES = 400_000  # one frame of a webcam: 480 pixels wide, as the page sends it, it has about 25,000
MAX_FRAME_SIDE = 1280  # pixels, checked in the header, before decoding: what a camera's own picture may have
MAX_FRAME_DECODE_S = 0.2  # for one such frame: the page's own take about 2 ms
MAX_VISITORS = 64  # with a camera on, at once: two cores give so many about one result a second each
MAX_CLIENT_VISITORS = 16  # of these, from one address: a classroom's worth, and no more than a quarter of the places
VISITOR_SILENCE_S = 60.0  # after which a visitor is forgotten: a tab may be hidden for a moment
VISITOR_WAIT_S = 0.3  # for a frame's turn: a later result would show where a face was, not where it is
MAX_UPLOAD_BYTES = 500_000_000  # of a file sent to the page: four minutes of a phone's 1080p
MAX_BODY_BYTES = 1_000_000  # of any other request to the page: a webcam's frame as text has half of it at most
MAX_UPLOAD_FILES = 8  # in one request: the page and gradio_client send one at a time
MAX_KEPT_BYTES = 10_000_000_000  # on the disk, of all visitors together: twenty of the largest uploads
MAX_KEPT_FILES = 20_000  # files and folders, of all visitors together: listing them takes about 0.1 s
UPLOAD_AGE_S = 3600.0  # after which what a visitor sent or got is deleted: long enough to look at it and save it
CROWDED_AGE_S = 120.0  # the same while more than half of what may be kept is kept: long enough to get the answer
BODY_SILENCE_S = 20.0  # how long a request that has begun may be silent: a phone's network may go for some seconds
MIN_BODY_BYTES_S = 4000  # a body's average rate, after these seconds: a phone with one bar has about 10,000
HEADERS_S = 20.0  # for a request's headers, which come in one packet, and for 64 KB of an answer to be taken
MAX_CONNECTIONS = 512  # open at once: each takes a file descriptor, of which a process commonly has 1,024
MAX_CLIENT_REQUESTS = 100  # answered at once for one address, where it is known: a class behind one router has about 90
MAX_SESSIONS = 256  # visitors of whom Gradio keeps what their page shows, a fifth of a megabyte each
MAX_WAITING = 128  # pictures and clips that wait in line for a turn; who comes then is told that it is full

_wrong: list[str] = []


def check_limits() -> None:
    """Tell of a limit in the environment that is none; until then its default stands.

    Raises:
        LimitError: Its name, what it is, and what it should be.
    """
    if _wrong:
        raise LimitError("; ".join(_wrong))


def _limit(name: str, default: float) -> float:
    """A limit as the environment has it, of the default's type."""
    text = os.environ.get(f"DEEPFER_{name}", "")
    if not text:
        return default
    try:
        value = type(default)(text)
        if 0 < value < math.inf:
            return value
    except ValueError:
        pass
    kind = "whole number" if isinstance(default, int) else "number"
    _wrong.append(f"DEEPFER_{name} must be a {kind} above 0, not {text[:80]!r}")
    return default


globals().update({name: _limit(name, value) for name, value in dict(globals()).items() if name.isupper()})
