"""What `test_annotate_ray` runs where Ray is: `python ray_run.py PHOTO OUT` annotates a source that kills a worker."""

import sys
from pathlib import Path

from annotated import deadly_job

from deepfer.annotate import ray_engine

if __name__ == "__main__":
    job = deadly_job(Path(sys.argv[1]), Path(sys.argv[2]))
    print(sorted(ray_engine.run(job, range(job.chunks), 1, None)))
