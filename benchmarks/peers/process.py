"""Runs `contenders.py` in a process and asks it questions."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.environments import ROOT

PROGRAM = Path(__file__).with_name("contenders.py")
PATIENCE_S = 600  # for one answer; for the first, the library may download weights
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")}


class NoAnswerError(Exception):
    """A contender's process failed; the message says how."""


class Process:
    """A contender's process: questions go in, answers come out."""

    def __init__(self, python: Path, kind: str, options: dict[str, Any], one_core: bool = False) -> None:
        """Start it.

        Args:
            python: The interpreter of its environment, or our own.
            kind: The class in `contenders.py`.
            options: Its arguments.
            one_core: Pin it to one core and one thread.
        """
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
        if python == Path(sys.executable):
            environment["PYTHONPATH"] = str(ROOT)
        self._noted = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by __exit__)
        self._process = subprocess.Popen(
            [python, "-P", PROGRAM, kind, json.dumps(options), *(["--one-core"] if one_core else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._noted, text=True, start_new_session=True,
            env=environment | (ONE_THREAD if one_core else {}),
        )  # fmt: skip

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._noted.close()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one question.

        Raises:
            NoAnswerError: The process failed, exited, or took longer than `PATIENCE_S`.
        """
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # it has exited; reading its answer reports that
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], PATIENCE_S)[0]:
            raise NoAnswerError(f"{do}: no answer within {PATIENCE_S} s")
        line = self._process.stdout.readline()
        if not line:
            self._noted.seek(0)
            told = [noted for noted in self._noted.read().splitlines() if noted.strip()]
            raise NoAnswerError(f"{do}: it ended with status {self._process.wait()}: {told[-1] if told else ''}")
        answer = json.loads(line)
        if "error" in answer:
            raise NoAnswerError(f"{do}: {' '.join(answer['error'].split())}")
        return answer
