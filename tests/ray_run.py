"""What `test_annotate_ray` runs in the environment with Ray, while Ray runs: `python ray_run.py PHOTO OUT`."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import ray
from annotated import deadly_job

from deepfer.annotate import ray_engine
from deepfer.annotate.errors import RayError

if __name__ == "__main__":
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    job = deadly_job(Path(sys.argv[1]), Path(sys.argv[2]))
    print(sorted(ray_engine.run(job, range(job.chunks), 1, None)))
    other = replace(job, out=job.out / "other", digests=("of another", "deepfer"))
    try:
        list(ray_engine.run(other, range(job.chunks), 1, None))
    except RayError as error:
        print(error)
    assert ray.is_initialized()  # we did not start it, so we must not end it
    ray.shutdown()
