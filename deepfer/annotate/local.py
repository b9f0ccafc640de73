"""The local engine: distributes the chunks of a job over processes on one machine."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial

from deepfer.annotate.item import Item
from deepfer.annotate.job import Job
from deepfer.annotate.recognition import Rows, error_rows, prepare
from deepfer.annotate.shards import write_shard
from deepfer.recognizer import EmotionRecognizer
from deepfer.workers import QUEUED, WorkerKilled, WorkerPool

AHEAD = 1000  # inputs per worker; high, because rows are small and a long video must not hold up the photos after it


class Annotator:
    """Writes shards with a pool of workers, which end when the context manager is left."""

    def __init__(self, job: Job, recognizer: EmotionRecognizer, workers: int) -> None:
        self._job, self._provenance = job, recognizer.provenance
        task = partial(prepare, recognizer.classifier.checkpoint, recognizer.detector.source, job.source.filesystem)
        # With the chunk that is being filled, a killed run loses at most one chunk per worker.
        ahead = min(AHEAD, max(QUEUED, job.chunk * (workers - 1) // workers))
        self._pool: WorkerPool[Item, Rows] = WorkerPool(workers, task, ahead)

    def __enter__(self) -> Annotator:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.__exit__(*exception)

    def run(self, chunks: Sequence[int]) -> Generator[int, None, None]:
        """Annotate chunks, in order. Close the generator if you do not exhaust it.

        Yields:
            1 for each finished input.

        Raises:
            AnnotationError: The source can no longer be read.
            OSError: A shard cannot be written.
        """
        with closing(self._pool.map(self._job.items(chunks))) as results:
            for chunk in chunks:
                rows: Rows = []
                for number in self._job.numbers(chunk):
                    result = next(results)
                    if isinstance(result, WorkerKilled):
                        reason = f"the process reading it was killed ({result.signal})"
                        result = error_rows(self._provenance, self._job.source.item_id(number), reason)
                    rows += result
                    yield 1
                write_shard(self._job.shard(chunk), rows)
