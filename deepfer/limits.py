"""Every limit on untrusted input, with its reason.

Set DEEPFER_MAX_PIXELS in the environment to override MAX_PIXELS, and likewise for each limit. The environment is read
once, when this module is imported. The page has more limits, in `ui/limits.py`.
"""

import math
import os
from typing import TypeVar

from deepfer.errors import LimitError

Number = TypeVar("Number", int, float)

_errors: list[str] = []


def limit(name: str, default: Number) -> Number:
    """The value of DEEPFER_`name` in the environment, of the default's type, or `default` if it is not set.

    An invalid value leaves the default in place until `check_limits` reports it.
    """
    text = os.environ.get(f"DEEPFER_{name}", "")
    if not text:
        return default
    try:
        value = type(default)(text)
        if 0 < value < math.inf:
            return value
    except ValueError:
        pass
    kind = "an integer" if isinstance(default, int) else "a number"
    _errors.append(f"DEEPFER_{name} must be {kind} above 0, got {text[:80]!r}")
    return default


def check_limits() -> None:
    """Check the limits that the environment sets.

    Raises:
        LimitError: One of them is not a valid number.
    """
    if _errors:
        raise LimitError("; ".join(_errors))


# The largest JPEG of a 50-megapixel camera is about 40 MB, its PNG about 90 MB.
MAX_FILE_BYTES = limit("MAX_FILE_BYTES", 100_000_000)
# The pixels of an image, checked in its header before decoding. An RGB image of this size takes 192 MB.
MAX_PIXELS = limit("MAX_PIXELS", 64_000_000)
# Decoding time on one core, estimated from an image's header. A 50-megapixel JPEG of 40 MB takes about one second.
MAX_DECODE_S = limit("MAX_DECODE_S", 2.0)
# The same for HEIC, whose decoder is slower. For 48 megapixels from a phone, 5 to 15 MB, the estimate is 3.2 to 4.3.
MAX_HEIC_DECODE_S = limit("MAX_HEIC_DECODE_S", 5.0)
# The largest faces are kept. This is more than a class photo holds; it bounds time and memory.
MAX_FACES = limit("MAX_FACES", 256)
# ResNet50V2 in float32 is 94 MB.
MAX_MODEL_BYTES = limit("MAX_MODEL_BYTES", 100_000_000)
# All tensors of a model, and the memory that its probe may take. ResNet50V2 at 224 pixels needs about 300 MB.
MAX_TENSOR_BYTES = limit("MAX_TENSOR_BYTES", 600_000_000)
# Processor time of a model's probe, including starting Python; it usually takes one second.
MODEL_TRIAL_S = limit("MODEL_TRIAL_S", 5)
# How long the Hub may stay silent. Including the set-up before that, the error comes within 15 s.
HUB_TIMEOUT_S = limit("HUB_TIMEOUT_S", 8.0)
# A checkpoint's config.json has a few kilobytes.
MAX_CONFIG_BYTES = limit("MAX_CONFIG_BYTES", 1_000_000)
# Ten minutes of a phone's 1080p video are about 1.3 GB.
MAX_VIDEO_BYTES = limit("MAX_VIDEO_BYTES", 2_000_000_000)
# Bounds the processing time and the size of the output.
MAX_VIDEO_S = limit("MAX_VIDEO_S", 600.0)
# 1080p, rounded up as codecs do, in either orientation: two cores process and encode this in real time. Larger frames
# are scaled down to it.
MAX_VIDEO_PIXELS = limit("MAX_VIDEO_PIXELS", 1920 * 1088)
# 4K, and the 5.3K of action cameras. Decoders keep many frames: this takes up to 1 GB, 8K would take 2 GB.
MAX_VIDEO_FRAME_PIXELS = limit("MAX_VIDEO_FRAME_PIXELS", 17_000_000)
# The pixels of all frames together, which bounds the time to decode them: ten minutes of 4K at 60 frames per second, or
# of 1080p slow motion.
MAX_VIDEO_DECODED_PIXELS = limit("MAX_VIDEO_DECODED_PIXELS", 320_000_000_000)
# Ten minutes of slow motion at 240 frames per second, for files whose timestamps cannot be trusted.
MAX_VIDEO_FRAMES = limit("MAX_VIDEO_FRAMES", 150_000)
# The people seen for longest are kept, which bounds memory and the size of the result.
MAX_VIDEO_PEOPLE = limit("MAX_VIDEO_PEOPLE", 1_000)
