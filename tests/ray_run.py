"""What `test_annotate_ray` runs where Ray is: `python ray_run.py PHOTO OUT`, in a Ray that is running already."""

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
    assert ray.is_initialized()  # it is not ours to end
    ray.shutdown()
