"""The errors that DeepFER expects, each with a message of one line. Any other exception is a bug."""

from deepfer.text import Message


class DeepFERError(Exception):
    """Base class of all expected errors.

    Args:
        message: What is wrong; with values, it has a %(name)s for each of them. The first of `args` is a `Message`.
        values: The values.
    """

    def __init__(self, message: str = "", **values: object) -> None:
        super().__init__(message if isinstance(message, Message) else Message(message, **values))


class ImageError(DeepFERError):
    """A file is not a readable image, or exceeds a limit."""


PictureError = ImageError  # its former public name


class DetectorError(DeepFERError):
    """A face detector is missing or invalid."""


class CheckpointError(DeepFERError):
    """A checkpoint folder is incomplete, damaged or made for something else."""


class HubError(DeepFERError):
    """The Hugging Face Hub, or a repo on it, cannot be reached."""


class LimitError(DeepFERError):
    """A DEEPFER_* limit in the environment is not a valid number."""


class VideoError(DeepFERError):
    """A file is not a readable video or exceeds a limit, or the annotated video cannot be written."""
