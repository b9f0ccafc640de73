"""The faults that DeepFER expects, each with one line that says what to do; anything else that is raised is a bug."""


class DeepFERError(Exception):
    """Base of them all."""


class ImageError(DeepFERError):
    """A file is no picture that can be read, or one past a limit."""


PictureError = ImageError  # its former public name


class DetectorError(DeepFERError):
    """A face detector is not there, or is not what it should be."""


class CheckpointError(DeepFERError):
    """A checkpoint folder is incomplete, damaged, or made for something else."""


class HubError(DeepFERError):
    """The Hugging Face Hub, or what was asked of it, cannot be reached."""


class LimitError(DeepFERError):
    """The environment sets a limit to what is no number, or none that can be."""


class VideoError(DeepFERError):
    """A file is no clip that can be read, or one past a limit, or the annotated clip cannot be written."""
