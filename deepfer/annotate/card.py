"""The data-set card: `README.md`, as the Hub and `datasets` read it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepfer.annotate.manifest import CARD
from deepfer.annotate.summary import Summary
from deepfer.atomic import atomic_write
from deepfer.hub import HUB_ID

CARD_TEXT = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*.parquet
tags:
- facial-emotion-recognition
- deepfer
---

# Faces in {title}

Every face in {inputs:,} images and videos, with its box and the probability of seven emotions, found by
DeepFER {version}. Nobody has checked these labels: they are a model's predictions of expressions, not of what people
feel.

| | |
| --- | ---: |
| Inputs | {inputs:,} |
| Faces | {faces:,} |
| Inputs without a face | {without_face:,} |
| Inputs that could not be read | {failed:,} |

| Emotion | Faces | Share |
| --- | ---: | ---: |
{emotions}

## How it was made

```
{command}
```

| | |
| --- | --- |
| Source | {source}, fingerprint `{fingerprint}` |
| Model | {model}, sha256 `{model_sha256}` |
| Detector | {detector}, sha256 `{detector_sha256}` |

## Columns

There is one row per face. An input without a face has one row without `face`; an input that could not be read has
one row with `error`. `path` and `face` together identify a row. For a video, there is one row per person, with their
usual emotion and mean probabilities.

| Column | Content |
| --- | --- |
| `path` | The input: its path in the source, or `file#row` |
| `width`, `height` | In pixels |
| `model`, `revision`, `detector` | The model and detector that made the row |
| `faces` | The number of faces in the input |
| `face` | The face's number, from 1; the largest face first |
| `x1`, `y1`, `x2`, `y2` | The face's box in pixels; `x2` and `y2` are outside it |
| `detection_score` | From 0 to 1 |
| `emotion`, `confidence` | The most probable emotion and its probability |
| `angry` to `surprise` | The probability of each emotion; they add up to 1 |
| `error` | Why the input could not be read |
"""


def write_card(out: Path, manifest: Mapping[str, Any], summary: Summary) -> None:
    """Write the card.

    Args:
        out: The folder of the results.
        manifest: Its manifest.
        summary: The sum of its shards.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_write(out / CARD) as temporary:
        temporary.write_text(_card(manifest, summary), encoding="utf-8")


def _card(manifest: Mapping[str, Any], summary: Summary) -> str:
    model, detector = manifest["model"], manifest["detector"]
    return CARD_TEXT.format(
        title=_plain(manifest["source"]),
        version=manifest["deepfer"],
        inputs=summary.inputs,
        faces=summary.faces,
        without_face=summary.without_face,
        failed=summary.failed,
        emotions="\n".join(
            f"| {label} | {count:,} | {count / max(summary.faces, 1):.1%} |"
            for label, count in summary.emotions.items()
        ),
        command=_command(manifest),
        source=_plain(manifest["source"]),
        fingerprint=manifest["fingerprint"],
        model=_plain(model["name"]) + (f" at commit `{model['revision']}`" if model["revision"] else ""),
        model_sha256=model["sha256"],
        detector=detector["name"],
        detector_sha256=detector["sha256"],
    )


def _command(manifest: Mapping[str, Any]) -> str:
    """The command that produces the same data set."""
    model, detector = manifest["model"], manifest["detector"]
    words = ["python", "-m", "deepfer.annotate", manifest["source"], "OUT", "--chunk", str(manifest["chunk"])]
    words += ["--model", model["name"]] + (["--revision", model["revision"]] if model["revision"] else [])
    words += ["--detector", detector["name"]]
    return shlex.join(words).replace("`", "'")


def _plain(name: str) -> str:
    """A name in Markdown: a link for a data set on the Hub, else code."""
    repo = name.partition("@")[0]
    if HUB_ID.fullmatch(repo) and not Path(name).exists():
        return f"[{name}](https://huggingface.co/datasets/{repo})"
    return "`" + " ".join(name.replace("`", "'").split()) + "`"
