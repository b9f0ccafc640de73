"""What the tests of both engines share: reading an annotated data set, and a source that kills its workers."""

import os
import signal
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from deepfer import EmotionRecognizer
from deepfer.annotate.item import Item
from deepfer.annotate.job import Job, digests


def rows_of(out: Path) -> list[dict]:
    return [row for path in sorted((out / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def each_once(out: Path, ids: list[str]) -> bool:
    """Whether every input is there, in order, with its faces numbered from 1."""
    rows = rows_of(out)
    faces = Counter((row["path"], row["face"]) for row in rows)
    numbered = all(row["face"] is None or row["face"] <= row["faces"] for row in rows)
    return list(dict.fromkeys(row["path"] for row in rows)) == ids and max(faces.values()) == 1 and numbered


def die(_id: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(Item):
    """An item that kills the process which receives it, as a damaged file might kill a decoder."""

    def __reduce__(self) -> tuple:
        return die, (self.id,)


class DeadlySource:
    """The same photo eight times, with an item that kills its worker in the middle."""

    kind, fingerprint, filesystem = "files", "", None

    def __init__(self, photo: Path) -> None:
        self.photo = str(photo)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> Item:
        return Deadly(self.item_id(number)) if number == 3 else Item(self.item_id(number), location=self.photo)

    def item_id(self, number: int) -> str:
        return f"{number}.png"


def deadly_job(photo: Path, out: Path) -> Job:
    return Job(DeadlySource(photo), out, 4, None, None, "auto", digests(EmotionRecognizer.from_pretrained()))
