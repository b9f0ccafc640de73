"""Rewrite every measured table in the README, the docs and the model cards from the result files of the measurements.

python -m benchmarks.report            # rewrite them (make results)
python -m benchmarks.report --check    # list stale pages; exit 1 if there are any
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import breakdown, detection, endpoint, growth, speed, video, webcam
from benchmarks.annotate import tables as annotate
from benchmarks.peers import tables as peers
from deepfer.checkpoint import DETECTOR, EMBEDDED, METRICS, MODEL, embedded_models, read_config, read_metrics
from training.detector import card as detector_card
from training.report import model_card
from training.report.markdown import percent, table
from training.report.model_card import with_interval

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/annotate.md", "docs/benchmarks.md")
SEED = ROOT / "training" / "checkpoints" / "seed"  # metrics of the original project's recipe; its model is not kept
SEED_NAME = "(a plain `cnn`, recipe `seed`)"
CNN = EMBEDDED / "cnn"
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def measured(name: str, markdown: Callable[[dict[str, Any]], str], chart: str = "") -> Callable[[], str]:
    """The block of `benchmarks/NAME.json`; with `chart`, the image `docs/NAME.png` with that alternative text."""

    def block() -> str:
        text = markdown(_json(ROOT / "benchmarks" / f"{name}.json"))
        return f"{text}\n\n![{chart}]({name}.png)" if chart else text

    return block


def example(part: str) -> str:
    """The README's example in Python or on the command line with its output, from `docs/example.json`."""
    m = _json(ROOT / "docs" / "example.json")
    if part == "python":
        return f"```python\n{m['code']}```\n\n```\n{m['printed']}```"
    return f"```console\n$ {m['command']}\n{m['said']}```"


def models() -> str:
    """Table: the embedded models and the original project's recipe, each head against its own labels."""
    rows = []
    named = {
        f"[`{folder.name}`](../{_card(folder)})": (_megabytes(folder), read_metrics(folder))
        for folder in embedded_models()
    }
    for name, (size, metrics) in (named | {SEED_NAME: ("–", _json(SEED / METRICS))}).items():
        splits = metrics["splits"]
        for split in sorted(splits, reverse=True):
            head, served = splits[split]["fer2013"]["head"], splits[split]["ferplus"]["served"]
            rows.append(
                (
                    name, size, split, with_interval(head),
                    percent(head["balanced_accuracy"]), percent(head["macro_f1"]), with_interval(served),
                    percent(served["balanced_accuracy"]), f"{served['ece']:.3f}",
                )
            )  # fmt: skip
    head = (
        "Model", "MB", "split", "FER2013 head: accuracy %", "balanced %", "macro F1 %", "served, FER+: accuracy %",
        "balanced %", "ECE",
    )  # fmt: skip
    return table(head, rows)


def model_summary() -> str:
    """Table: the embedded models' test metrics, size and time."""
    ms = peers.classifier_ms(_json(ROOT / "benchmarks" / "peers.json"))
    rows = []
    for folder in embedded_models():
        test = read_metrics(folder)["splits"]["test"]
        served = test["ferplus"]["served"]
        rows.append(
            (
                f"[`{folder.name}`]({_card(folder)})",
                percent(test["fer2013"]["head"]["accuracy"]), percent(served["accuracy"]), f"{served['ece']:.3f}",
                _megabytes(folder), f"{ms[folder.name]:.1f}" if folder.name in ms else "–",
            )
        )  # fmt: skip
    return table(("Model", "FER2013 %", "FER+ %", "ECE", "MB", "ms per face"), rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "python": lambda: example("python"),
    "command": lambda: example("command"),
    "models": models,
    "model-summary": model_summary,
    "pipeline": lambda: model_card.pipeline(CNN),
    "explanation": lambda: model_card.explanation(CNN),
    "speed": measured("speed", speed.markdown),
    "video": measured("video", video.markdown),
    "detection": measured("detection", detection.markdown),
    "webcam": measured("webcam", webcam.markdown),
    "endpoint": measured("endpoint", endpoint.markdown),
    "peers": measured("peers", peers.markdown, "DeepFER and other libraries: time, memory, size and accuracy"),
    "peer-summary": measured("peers", peers.summary),
    "breakdown": measured("breakdown", breakdown.markdown, "Time of each step for a video frame and for photos"),
    "annotate-throughput": measured("annotate", annotate.throughput),
    "annotate-costs": measured("annotate", annotate.costs),
    "annotate-limits": measured("annotate", annotate.limits),
    "annotate-endurance": measured("annotate", annotate.endurance),
    "growth": measured("growth", growth.markdown, "Time and memory by faces, by megapixels and by workers"),
}


def render(text: str) -> str:
    """A page with every block between `<!-- results: NAME -->` and `<!-- /results -->` regenerated."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}", text)


def pages() -> dict[Path, str]:
    """Each page that holds results, with its current text."""
    texts = {path: render(path.read_text(encoding="utf-8")) for path in (ROOT / name for name in PAGES)}
    texts |= {folder / "README.md": model_card.render(folder) for folder in embedded_models()}
    detector = EMBEDDED / DETECTOR
    if (detector / METRICS).exists():
        size = (detector / MODEL).stat().st_size
        texts[detector / "README.md"] = detector_card.render(read_config(detector), _json(detector / METRICS), size)
    return texts


def stale(texts: dict[Path, str]) -> list[str]:
    """The pages whose files differ from `texts`."""
    return [
        path.relative_to(ROOT).as_posix()
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is stale")
    args = parser.parse_args(argv)
    texts = pages()
    old = stale(texts)
    if args.check:
        for name in old:
            print(f"stale: {name}")
        return 1 if old else 0
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    print("rewritten: " + (", ".join(old) or "nothing"))
    return 0


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _card(folder: Path) -> str:
    return (folder / "README.md").relative_to(ROOT).as_posix()


def _megabytes(folder: Path) -> str:
    return f"{(folder / MODEL).stat().st_size / 1e6:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
