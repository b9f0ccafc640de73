"""JPEG files for the page, stored or as data URIs."""

import cv2
import numpy as np

from ui.components import data_uri

QUALITY = 92


def encode_jpeg(image: np.ndarray, quality: int = QUALITY) -> bytes:
    """A gray or RGB image, uint8 `(H, W)` or `(H, W, 3)`, as the content of a JPEG file of a quality from 0 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def jpeg_uri(image: np.ndarray, quality: int = QUALITY) -> str:
    """An image, as for `encode_jpeg`, as a data URI."""
    return data_uri("image/jpeg", encode_jpeg(image, quality))
