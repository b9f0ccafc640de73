"""The files that the command line writes: where --save puts them, and the --output file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from deepfer.cli.console import fail_usage
from deepfer.cli.inputs import Input
from deepfer.cli.writing import WriteError, writing
from deepfer.image_io import WRITERS
from deepfer.result import Provenance
from deepfer.results_file import LockedError, ResultsFile, ResultsFileError
from deepfer.video_writer import video_suffix


@dataclass(frozen=True)
class Target:
    """Where --save writes the results of an input.

    Attributes:
        annotated: The annotated image or video.
        table: The table of a video; None for an image.
    """

    annotated: Path
    table: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All these files."""
        return [self.annotated, *([self.table] if self.table else [])]


def open_output(
    path: Path | None, resume: bool, provenance: Provenance, inputs: Sequence[Input]
) -> AbstractContextManager[ResultsFile | None]:
    """Open the --output file if there is one.

    Raises:
        WriteError: It cannot be opened, or another process is writing to it.
        SystemExit: The file is an input, or cannot be resumed.
    """
    if not path:
        return nullcontext()
    try:
        with writing(path):
            return ResultsFile(path, provenance, (item.path for item in inputs), resume=resume)
    except LockedError as error:
        raise WriteError(str(error)) from error
    except ResultsFileError as error:
        fail_usage(str(error))


def save_targets(inputs: Sequence[Input], save: Path) -> dict[Path, Target]:
    """The --save files of each input. They depend on the inputs alone, so --resume finds them again.

    Raises:
        SystemExit: One of them would overwrite an input.
    """
    depths = {item.path: item.depth for item in inputs if not item.error}
    videos = {item.path for item in inputs if item.is_video}
    names = _unique_names(depths)

    def suffixes(path: Path) -> tuple[str, ...]:
        return (video_suffix(),) if path in videos else tuple(WRITERS)

    targets: dict[Path, Target] = {}
    taken: set[Path] = set()
    originals = {os.path.realpath(path) for path in depths}
    # First those whose name can stay, so that no converted file takes it.
    for path in sorted(depths, key=lambda path: path.suffix.lower() not in suffixes(path)):
        annotated = Path(save, *names[path])
        while annotated.suffix.lower() not in suffixes(path) or annotated in taken:
            annotated = annotated.with_name(annotated.name + (video_suffix() if path in videos else ".png"))
        taken.add(annotated)
        table = None
        if path in videos:
            name = f"{annotated.stem}.timeline.csv"
            table = save / "timeline.csv" if len(videos) == 1 else annotated.with_name(name)
        targets[path] = Target(annotated, table)
        for file in targets[path].files:
            if os.path.realpath(file) in originals:
                fail_usage(f"--save {save} would overwrite the input {file}: choose another folder")
    return targets


def _unique_names(depths: dict[Path, int]) -> dict[Path, tuple[str, ...]]:
    """Each path's last `depth` parts; where two are equal, as many more as distinguish them."""
    depths = dict(depths)
    parts = {}
    for path in depths:
        root, *rest = Path(os.path.abspath(path)).parts
        parts[path] = [root.strip("/\\:"), *rest]
    while True:
        names = {path: tuple(parts[path][-depth:]) for path, depth in depths.items()}
        count = Counter(names.values())
        equal = [path for path in depths if count[names[path]] > 1]
        if not equal:
            return names
        for path in equal:
            depths[path] += 1
