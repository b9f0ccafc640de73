"""The errors of annotating a data set."""

from __future__ import annotations

import importlib

from deepfer.errors import DeepFERError


class AnnotationError(DeepFERError):
    """This source cannot be annotated into this folder."""


class OutputLockedError(DeepFERError):
    """Another process is writing to the folder."""


class RayError(DeepFERError):
    """Ray cannot be started or reached."""


def require(extra: str, *modules: str) -> None:
    """Check that modules can be imported, which `pip install 'deepfer[extra]'` installs.

    Raises:
        AnnotationError: One of them is missing.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise AnnotationError(f"{module} is not installed: pip install 'deepfer[{extra}]'") from error
