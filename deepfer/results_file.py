"""The --output file: results as JSON Lines or CSV, appended input by input so that a run can be resumed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepfer.errors import DeepFERError
from deepfer.file_lock import try_lock
from deepfer.result import Provenance, Result, VideoResult
from deepfer.table import from_csv, header, to_csv

SUFFIXES = (".jsonl", ".csv")


class ResultsFileError(DeepFERError):
    """These results cannot be written to this file."""


class LockedError(ResultsFileError):
    """Another process is writing to the file."""


class ResultsFile:
    """An open results file, locked against other processes. A kill loses at most the result being written.

    Attributes:
        done: For the path of each input in the file, whether it failed; empty unless the run is resumed.
    """

    def __init__(self, path: Path, provenance: Provenance, inputs: Iterable[Path], *, resume: bool) -> None:
        """Open and lock the file, and read it if `resume` is set.

        Without `resume`, the old content is kept until the first result is written.

        Args:
            path: The file; `check_name` has accepted it.
            provenance: The model, revision and detector of this run.
            inputs: The run's inputs; the file must not be one of them.
            resume: Append to the file. A last result that was truncated by a kill is removed.

        Raises:
            LockedError: Another process is writing to the file.
            ResultsFileError: The file is one of the inputs, or cannot be resumed because it contains something else, or
                results of another model or detector.
            OSError: The file cannot be opened, read or written.
        """
        self._path, self._replace = path, not resume
        self._is_table = path.suffix.lower() == ".csv"
        self.done: dict[str, bool] = {}
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by __exit__)
        try:
            if not try_lock(self._file):
                raise LockedError(f"--output {path}: another process is writing to it")
            self._check_inputs(inputs)
            if resume:
                self._read(provenance)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, result: Result | VideoResult) -> None:
        """Add a result.

        Raises:
            OSError: It cannot be written.
        """
        if self._replace:
            self._file.truncate(0)
            self._replace = False
        if self._is_table:
            text = (header() if self._file.seek(0, io.SEEK_END) == 0 else "") + to_csv(result.rows())
        else:
            text = json.dumps(result.to_dict()) + "\n"
        self._file.write(text.encode("utf-8", "surrogateescape"))  # keeps the bytes of a name that is not UTF-8
        self._file.flush()

    def _check_inputs(self, inputs: Iterable[Path]) -> None:
        """Raise a `ResultsFileError` if the file is an input, also through a symbolic or hard link."""
        own = os.fstat(self._file.fileno())
        for item in inputs:
            try:
                same = os.path.samestat(own, os.stat(item))
            except (OSError, ValueError):  # reading the input will report it
                continue
            if same:
                raise ResultsFileError(f"--output {self._path} is the input {item}: choose another name")

    def _read(self, provenance: Provenance) -> None:
        self._file.seek(0)
        data = self._file.read()
        start = header().rstrip("\n").encode() if self._is_table else b'{"path": '
        whole = data[: data.rfind(b"\n") + 1]
        try:
            # A truncated first line is accepted if it could have become ours.
            if not data.startswith(start) and not start.startswith(data):
                raise ValueError("its first line is not one that --output writes")
            found, length = self._read_table(whole) if self._is_table else self._read_lines(whole)
        except (ValueError, KeyError, TypeError, csv.Error) as error:  # not JSON or CSV, or without a result's fields
            raise ResultsFileError(
                f"--output {self._path} does not contain results, so there is nothing to resume: {error}"
            ) from error
        if others := sorted(_describe(one) for one in found - {provenance}):
            raise ResultsFileError(
                f"--output {self._path} contains results of {', '.join(others)}; "
                f"this run uses {_describe(provenance)}. Use the same --model, --revision and --detector, "
                "or another --output"
            )
        if length < len(data):
            self._file.truncate(length)

    def _read_lines(self, data: bytes) -> tuple[set[Provenance], int]:
        found = set()
        for line in data.split(b"\n")[:-1]:
            result = json.loads(line)
            self.done[result["path"]] = result["error"] is not None
            found.add(Provenance(result["model"], result["revision"], result["detector"]))
        return found, len(data)

    def _read_table(self, data: bytes) -> tuple[set[Provenance], int]:
        """As `_read_lines`, but the length excludes the last input if some of its faces are missing."""
        found: set[Provenance] = set()
        read = length = 0

        def lines() -> Iterator[str]:
            nonlocal read
            for line in io.BytesIO(data):
                read += len(line)
                yield line.decode("utf-8", "surrogateescape")

        for row in from_csv(lines()):
            if None in row.values():  # truncated within a name that contains a newline
                break
            if int(row["faces"] or 0) == int(row["face"] or 0):  # an input's last row
                self.done[str(row["path"])] = bool(row["error"])
                found.add(Provenance(str(row["model"]), row["revision"] or None, str(row["detector"])))
                length = read
        return found, length


def check_name(path: Path) -> None:
    """Raise a `ResultsFileError` unless the name, and that of its target if it is a link, ends in one of `SUFFIXES`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ResultsFileError(f"--output {path}: the name must end in .jsonl or .csv")
    target = Path(os.path.realpath(path))
    if target.suffix.lower() != suffix:
        raise ResultsFileError(f"--output {path} is a link to {target}, whose name does not end in {suffix}")


def _describe(provenance: Provenance) -> str:
    model, revision, detector = provenance
    return f"{model}{f' at {revision}' if revision else ''} with {detector}"
