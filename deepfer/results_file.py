"""The file of `--output`: results as JSON lines or CSV, written one input at a time, so that a run can be resumed."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from deepfer.errors import DeepFERError
from deepfer.result import Result, VideoResult
from deepfer.table import from_csv, header, to_csv

SUFFIXES = (".jsonl", ".csv")

# On Windows no other process can read a byte that is locked, so it is one that results do not reach.
LOCKED_AT = 2**31 - 2

Maker = tuple[str, str | None, str]  # model, revision, detector


class ResultsFileError(DeepFERError):
    """The file is not one that these results may be written to."""


class LockedError(ResultsFileError):
    """Another process is writing to the file."""


class ResultsFile:
    """An open results file, locked against other processes. A kill costs at most the result in hand.

    Attributes:
        done: The path of each input that the file holds -> whether it failed. Empty unless the run is resumed.
    """

    def __init__(self, path: Path, maker: Maker, inputs: Iterable[Path], *, resume: bool) -> None:
        """Open the file, lock it, and when resuming, read it.

        Without `resume`, what the file holds is kept until the first result is written.

        Args:
            path: The file; `check_name` has accepted it.
            maker: Model, revision and detector of this run.
            inputs: The run's inputs, none of which the file may be.
            resume: Whether to add to what the file holds. A last result that was cut short by a kill is removed.

        Raises:
            LockedError: Another process is writing to the file.
            ResultsFileError: The file is one of the inputs; or it is to be resumed, and does not hold results, or holds
                those of another model or detector.
            OSError: The file cannot be opened, read or written.
        """
        self._path, self._replace = path, not resume
        self._is_table = path.suffix.lower() == ".csv"
        self.done: dict[str, bool] = {}
        self._file = open(path, "a+b")  # noqa: SIM115 (closed by __exit__)
        try:
            _lock(self._file, path)
            self._check_inputs(inputs)
            if resume:
                self._read(maker)
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
        self._file.write(text.encode("utf-8", "surrogateescape"))  # the bytes of a name that is not UTF-8 stay the same
        self._file.flush()

    def _check_inputs(self, inputs: Iterable[Path]) -> None:
        """Raise a `ResultsFileError` if the file is an input, also through a symbolic or hard link."""
        own = os.fstat(self._file.fileno())
        for item in inputs:
            try:
                same = os.path.samestat(own, os.stat(item))
            except (OSError, ValueError):  # it cannot be read, which is said in its turn
                continue
            if same:
                raise ResultsFileError(f"--output {self._path} is the input {item}: name another file")

    def _read(self, maker: Maker) -> None:
        self._file.seek(0)
        data = self._file.read()
        start = header().rstrip("\n").encode() if self._is_table else b'{"path": '
        whole = data[: data.rfind(b"\n") + 1]
        try:
            # A line cut short passes for ours only if it could have become one.
            if not data.startswith(start) and not start.startswith(data):
                raise ValueError("the first line is not one that --output writes")
            makers, length = self._read_table(whole) if self._is_table else self._read_lines(whole)
        except (ValueError, KeyError, TypeError, csv.Error) as error:  # not JSON or CSV, or without a result's fields
            raise ResultsFileError(
                f"--output {self._path} does not hold results, so there is nothing to resume: {error}"
            ) from error
        if other := sorted(_told(one) for one in makers - {maker}):
            raise ResultsFileError(
                f"--output {self._path} holds results of {', '.join(other)}; this run uses {_told(maker)}. To go on, "
                "give the same --model, --revision and --detector; or name another --output"
            )
        if length < len(data):
            self._file.truncate(length)

    def _read_lines(self, data: bytes) -> tuple[set[Maker], int]:
        makers = set()
        for line in data.split(b"\n")[:-1]:
            result = json.loads(line)
            self.done[result["path"]] = result["error"] is not None
            makers.add((result["model"], result["revision"], result["detector"]))
        return makers, len(data)

    def _read_table(self, data: bytes) -> tuple[set[Maker], int]:
        """The length leaves out the last input if not all its faces are there."""
        makers: set[Maker] = set()
        read = length = 0

        def lines() -> Iterator[str]:
            nonlocal read
            for line in io.BytesIO(data):
                read += len(line)
                yield line.decode("utf-8", "surrogateescape")

        for row in from_csv(lines()):
            if None in row.values():  # cut within a name that holds a newline
                break
            if int(row["faces"] or 0) == int(row["face"] or 0):  # an input's last row
                self.done[str(row["path"])] = bool(row["error"])
                makers.add((str(row["model"]), row["revision"] or None, str(row["detector"])))
                length = read
        return makers, length


def check_name(path: Path) -> None:
    """Raise a `ResultsFileError` unless the name ends in one of `SUFFIXES`, and if it is a link, its target's too."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ResultsFileError(f"--output {path}: the name must end in .jsonl or .csv")
    target = Path(os.path.realpath(path))
    if target.suffix.lower() != suffix:
        raise ResultsFileError(f"--output {path} is a link to {target}, which is not named {suffix}")


def _told(maker: Maker) -> str:
    model, revision, detector = maker
    return f"{model}{f' at {revision}' if revision else ''} with {detector}"


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock a file until it is closed, however the process ends. Without effect on file systems that have no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(LOCKED_AT)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            raise LockedError(f"--output {path}: another process is writing to it") from error
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
