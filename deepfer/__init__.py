"""DeepFER finds every face in an image and classifies its emotion, with calibrated probabilities.

    from deepfer import EmotionRecognizer
    faces = EmotionRecognizer.from_pretrained().recognize("photo.jpg")

Conventions of the package:

- An image is RGB, `uint8 (H, W, 3)`.
- A box is `(x1, y1, x2, y2)` in pixels, half-open, clipped to the image.
- Times are in seconds. Sizes are `(width, height)`.
- Labels are in the order of `LABELS`: angry, disgust, fear, happy, neutral, sad, surprise.
- Probabilities are `float32`, sum to 1, and are calibrated by the checkpoint's temperature.
"""

from deepfer.classifier import EmotionClassifier
from deepfer.detection import HaarDetector, NetworkDetector, load_detector
from deepfer.drawing import draw_faces
from deepfer.errors import (
    CheckpointError,
    DeepFERError,
    DetectorError,
    HubError,
    ImageError,
    LimitError,
    PictureError,
    VideoError,
)
from deepfer.face import LABELS, Face
from deepfer.image_io import read_image
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import Person, Result, VideoResult
from deepfer.table import to_pandas
from deepfer.tracking import FaceTracker
from deepfer.video import recognize_video

read_picture = read_image  # its former public name

__version__ = "0.1.0"

__all__ = [
    "LABELS",
    "CheckpointError",
    "DeepFERError",
    "DetectorError",
    "EmotionClassifier",
    "EmotionRecognizer",
    "Face",
    "FaceTracker",
    "HaarDetector",
    "HubError",
    "ImageError",
    "LimitError",
    "NetworkDetector",
    "Person",
    "PictureError",
    "Result",
    "VideoError",
    "VideoResult",
    "draw_faces",
    "load_detector",
    "read_image",
    "read_picture",
    "recognize_video",
    "to_pandas",
]
