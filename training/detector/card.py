"""Renders the detector's model card from its `config.json` and `metrics.json`."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from training.detector.evaluate import markdown

CARD = """# DeepFER's face detector

It finds faces at any in-plane rotation in an RGB image, with a score and five landmarks for each: right eye, left eye,
nose, right and left mouth corner. `deepfer.load_detector()` loads it; nothing is downloaded.

- **Network:** {parameters:,} weights; depthwise-separable blocks with a top-down path, and grids at strides 8, 16
  and 32. The file is {kilobytes:.0f} kB: weights in float16, computation in float32.
- **Thresholds**, chosen on the validation photos and on composed images and videos: {photo} for photos, {frame} for
  video frames.
- **Trained with** `python -m training.detector`, on composed images: {stages}.

## How well it finds faces

Measured on whole photos that it was not trained on. The reference is YuNet, run once on each photo, with a score of at
least 0.6. "Extra" boxes therefore include real faces that YuNet misses. The rows "yunet" show the effect of the search
and threshold that `deepfer` uses with YuNet. The landmark error is the distance from YuNet's landmarks, as a share of
the distance between the eyes. A few faces in profile, whose eyes are almost in one place, dominate its mean.

{photos}

`python -m training.detector evaluate` prints this table, and `python -m benchmarks.detection` measures the detector on
composed images with known faces, by size and rotation.

## What it learned from

| data | licence |
|---|---|
| Labeled Faces in the Wild, deep-funneled: news photos of people | research data set; no licence file found |
| the clothing dataset: photos of clothes, floors and rooms without faces | CC0 |
| one photo for each ImageNet class | ImageNet's terms (research); no licence file found |
| FER2013: gray 48-pixel faces | research data set |
| drawn heads from `training.data.synthetic_heads` | MIT, like this project |

The teacher was **YuNet** (Wu et al. 2023, MIT): its boxes and landmarks on these photos are the labels. Faces that it
was unsure of counted neither as faces nor as background; faces that it found in photos of animals counted as background
or were ignored. All training images are composed from these photos at random sizes and rotations, and the labels are
transformed with them. The photos are not part of this project.

## Limits

- The training photos show mostly adults, many of them public figures of the early 2000s. Recall was not measured
  by age, sex or skin colour.
- It misses faces below 12 pixels, full profiles, and faces that are mostly covered.
- It finds faces; it does not identify people.
"""


def render(config: dict[str, Any], metrics: dict[str, Any], model_bytes: int) -> str:
    """The card of a detector folder, in Markdown."""
    made = [
        f"{sum(images for images, *_ in parts):,} (batches of {batch_size}, learning rate up to {rate:g})"
        for (batch_size, rate), parts in groupby(stages(config["run"]), key=lambda part: part[1:])
    ]
    return CARD.format(
        parameters=config["parameters"],
        kilobytes=model_bytes / 1000,
        **config["thresholds"],
        stages=", then ".join(made),
        photos=markdown(metrics["photos"]),
    )


def stages(run: dict[str, Any]) -> list[tuple[int, int, float]]:
    """Images, batch size and learning rate of each part of a run; the first parts are those of its `init` run."""
    parts = stages(run["init"]) if run.get("init") else []
    done = 0
    for part in [*run.get("resumed", []), {**run, "until_epoch": run["epochs"]}]:
        epochs, done = part["until_epoch"] - done, part["until_epoch"]
        parts.append((epochs * part["steps"] * part["batch_size"], part["batch_size"], part["learning_rate"]))
    return parts
