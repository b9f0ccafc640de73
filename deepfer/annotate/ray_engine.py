"""The Ray engine: distributes the chunks of a job over the actors of a cluster.

Ray restarts actors and nodes. Resuming a run is our own work.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Generator, Sequence
from typing import Any

from deepfer.annotate.errors import RayError
from deepfer.annotate.job import Job
from deepfer.annotate.local import Annotator
from deepfer.errors import DeepFERError
from deepfer.interpreter import stderr_silenced
from deepfer.text import first_line

# A little less than a core: if actors took all cores, Ray might wait forever for one to run its own tasks on. With 98
# cores or fewer, no two actors share one.
ACTOR_CPUS = 0.99
MAX_BLOCKS = 10_000  # Ray keeps a record of each. Its default puts small inputs into one block, for one actor


def run(job: Job, chunks: Sequence[int], workers: int | None, address: str | None) -> Generator[int, None, None]:
    """Annotate chunks, in any order. Close the generator if you do not exhaust it: that ends the Ray it started.

    Args:
        job: The job; every node must reach its source and its folder of results.
        chunks: The chunks to do.
        workers: The number of actors; None for one per core of the cluster.
        address: As for `ray.init`; None starts Ray on this machine.

    Yields:
        The number of inputs of each finished chunk.

    Raises:
        RayError: Ray cannot be started or reached, or an actor cannot read the source or write a shard.
        Exception: What an actor raised, as Ray reports it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # DeepFER reports to nobody, so Ray should not either
    import ray
    import ray.data

    own = not ray.is_initialized()
    if own:
        _start(address)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False  # we show our own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(chunks))
        items = [{"chunk": chunk} for chunk in chunks]
        done = ray.data.from_items(items, override_num_blocks=min(len(chunks), MAX_BLOCKS)).map_batches(
            ShardWriter,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=ACTOR_CPUS,
            fn_constructor_args=(job,),
        )
        rows = iter(done.iter_rows())
        with stderr_silenced():  # Ray's core warns that actors need their arguments to restart; we keep them
            first = next(rows)
        for row in itertools.chain([first], rows):
            if row["error"]:
                raise RayError(f"an actor failed: {row['error']}")
            yield row["inputs"]
    finally:
        if own:
            ray.shutdown()


def _start(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address, **quiet)
        else:
            os.environ.setdefault("RAY_worker_niceness", "0")  # the default, 15, leaves the cores to any other program
            ray.init("local", include_dashboard=False, **quiet)
    except Exception as error:  # Ray has no exception class for these
        ray.shutdown()
        what = f"reached at {address}" if address else "started"
        raise RayError(f"Ray cannot be {what}: {first_line(error)}") from error


class ShardWriter:
    """An actor. Its recognizer runs in a separate process, so a decoder that crashes does not end the actor."""

    def __init__(self, job: Job) -> None:
        """Load nothing before the first chunk."""
        self._job = job
        self._annotator: Annotator | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Write the shards of chunks, except those that exist, so that a repeated task does not repeat its work."""
        chunks = [int(chunk) for chunk in batch["chunk"]]
        error = ""
        try:
            self._write([chunk for chunk in chunks if not self._job.shard(chunk).exists()])
        except (DeepFERError, OSError) as caught:  # returned, because Ray would wrap it in its own traceback
            error = first_line(caught)
        return {"inputs": [len(self._job.numbers(chunk)) for chunk in chunks], "error": [error] * len(chunks)}

    def _write(self, chunks: Sequence[int]) -> None:
        if chunks:
            self._annotator = self._annotator or Annotator(self._job, self._job.load(), 1)
            for _ in self._annotator.run(chunks):
                pass
