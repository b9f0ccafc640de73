"""Item: one input of a source, an image or a video."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One image or video, or an input that is already known to fail.

    Attributes:
        id: Its name in the results: unique in its source, and the same in every run.
        is_video: Whether it is a video.
        location: A path or a URL, which a worker reads; empty if `data` holds the content.
        data: The file's bytes.
        error: Why it cannot be read, or None.
    """

    id: str
    is_video: bool = False
    location: str = ""
    data: bytes | None = None
    error: str | None = None
