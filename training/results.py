"""Results: every table in the README and the model cards, rendered from the files that the measurements wrote.

python -m training.results            # rewrite them (make results)
python -m training.results --check    # say which are stale
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from deepfer.checkpoint import CONFIG, EMBEDDED, MODEL, read_config
from deepfer.face import LABELS

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_name("model_card.md")
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def percent(share: float | None) -> str:
    """A share as percent with one decimal; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def accuracy(folder: Path) -> str:
    """A checkpoint's outputs against both label sets, on each split that was measured."""
    splits = _metrics(folder)["splits"]
    rows = []
    for split in sorted(splits, reverse=True):
        against = splits[split]
        listed = [("FER2013 head", "FER2013", against["fer2013"].get("head"))]
        listed.append(("served", "FER2013", against["fer2013"]["served"]))
        listed.append(("served", "FER+ majority", against["ferplus"] and against["ferplus"]["served"]))
        for output, labels, m in listed:
            if m:
                rows.append(
                    (
                        f"{output}, {labels}", split, m["n"], percent(m["accuracy"]), percent(m["balanced_accuracy"]),
                        percent(m["macro_f1"]), f"{m['ece']:.3f}", percent(m["flip_tta"]["accuracy"]),
                    )
                )  # fmt: skip
    head = ("Output, labels", "split", "images", "accuracy %", "balanced %", "macro F1 %", "ECE", "mirrored %")
    return table(head, rows)


def per_class(folder: Path) -> str:
    """Each label of the served output against FER+'s majority, on the last split."""
    split = _metrics(folder)["splits"][_last_split(folder)]
    measured = (split["ferplus"] or split["fer2013"])["served"]["per_class"]
    rows = [
        (
            label, m["support"], percent(m["precision"]), percent(m["recall"]), percent(m["f1"]),
            "–" if m["roc_auc"] is None else f"{m['roc_auc']:.3f}",
        )
        for label, m in ((label, measured[label]) for label in LABELS)
    ]  # fmt: skip
    return table(("Emotion", "images", "precision %", "recall %", "F1 %", "AUC"), rows)


def pipeline(folder: Path) -> str:
    """What detection and alignment lose, per detector and angle."""
    found = _metrics(folder).get("pipeline", {})
    if not found:
        return "Not measured."
    first = next(iter(found.values()))
    rows = [
        (
            f"{detector}, {angle}°", percent(m["detected"]), percent(m["accuracy"]),
            f"{100 * m['loss']:.1f}", f"{100 * m['loss_where_detected']:.1f}",
        )
        for detector, measured in found.items()
        for angle, m in measured["angles"].items()
    ]  # fmt: skip
    return (
        f"{first['images']} validation pictures, put into 640x480 pictures, 80 to 240 pixels wide, turned either way. "
        f"On the original crops the served output is right in {percent(first['accuracy_on_crop'])} %; a face that is "
        "not found counts as wrong.\n\n"
        + table(("Detector, turn", "found %", "right %", "lost, points", "lost where found, points"), rows)
    )


def explanation(folder: Path) -> str:
    """The test of the activation map, in a sentence."""
    m = _metrics(folder)["explanation"]
    return (
        f"Over {m['images']} validation pictures, painting over the hottest quarter of the map lowers the label's "
        f"probability by {100 * m['hottest_quarter']:.1f} points, the coldest quarter by "
        f"{100 * m['coldest_quarter']:.1f}."
    )


def speed() -> str:
    """`benchmarks/speed.json`."""
    m = json.loads((ROOT / "benchmarks" / "speed.json").read_text())
    warm, cold, classifier = m["picture_640x480_ms"], m["cold"], m["classifier_ms"]
    rows = [
        ("`python -m deepfer photo.jpg`, cold", f"{cold['seconds']:.2f} s, {cold['peak_memory_mb']:.0f} MB"),
        ("640x480 picture with one face, warm", f"{warm['recognize']:.1f} ms"),
        ("of which the detector", f"{warm['detect']:.1f} ms"),
        ("whole over detector alone", f"{warm['ratio']:.2f}x"),
        ("classifier, one crop, one thread", f"{classifier['batch_1']:.2f} ms"),
        ("classifier, 32 crops, one thread", f"{classifier['batch_32']:.1f} ms"),
    ]
    return table(("What", "median"), rows) + f"\n\n{m['processor']}; detector: {m['detector']}."


def video() -> str:
    """`benchmarks/video.json`."""
    m = json.loads((ROOT / "benchmarks" / "video.json").read_text())
    rows = [
        (
            f"{run['seconds']:g} s, annotated as {run['encoder']}",
            f"{run['processing_to_playing']:.2f}",
            f"{run['peak_memory_mb']:.0f} MB",
        )
        for run in m["runs"]
    ]
    head = ("Clip", "time to process / time to play", "peak memory")
    busy = f", shared with {m['load_before']:.1f} other tasks" if m["load_before"] > 0.5 else ""
    return table(head, rows) + f"\n\n{m['clip']}; {m['processor']}{busy}; detector: {m['detector']}."


def detection() -> str:
    """The table of `benchmarks/detection.json`."""
    from benchmarks.detection import markdown

    return markdown(json.loads((ROOT / "benchmarks" / "detection.json").read_text()))


def example(part: str) -> str:
    """The README's example in Python or on the command line, with what was answered, from `docs/example.json`."""
    m = json.loads((ROOT / "docs" / "example.json").read_text())
    if part == "python":
        return f"```python\n{m['code']}```\n\n```\n{m['printed']}```\n\n(Faces found by {m['detector']}.)"
    return f"```\n$ {m['command']}\n{m['said']}```"


CNN = EMBEDDED / "cnn"
BLOCKS: dict[str, Callable[[], str]] = {
    "python": lambda: example("python"),
    "command": lambda: example("command"),
    "accuracy": lambda: accuracy(CNN),
    "pipeline": lambda: pipeline(CNN),
    "explanation": lambda: explanation(CNN),
    "speed": speed,
    "video": video,
    "detection": detection,
}


def card(folder: Path) -> str:
    """A checkpoint's model card, from its config and metrics."""
    config, metrics = read_config(folder), _metrics(folder)
    calibration = ", ".join(
        f"{m['ferplus']['served']['ece']:.3f} on {split}"
        for split, m in sorted(metrics["splits"].items(), reverse=True)
        if m["ferplus"]
    )
    return Template(TEMPLATE.read_text()).substitute(
        model=config.get("model", folder.name),
        source=folder.name if folder.parent == EMBEDDED else folder,
        size=f"{(folder / MODEL).stat().st_size / 1e6:.1f}",
        input=f"{config['input']['size']}x{config['input']['size']}",
        share=f"{100 * config['fer2013_share']:.0f} %",
        temperature=config["temperature"]["logits"],
        calibration=calibration or "not measured",
        results=accuracy(folder),
        last_split=_last_split(folder),
        per_class=per_class(folder),
        pipeline=pipeline(folder),
        recipe=config.get("recipe"),
        seed=config.get("seed"),
        training=training(config["training"]),
        dataset=metrics["dataset"],
    )


def training(m: dict[str, Any]) -> str:
    """How long the training took, where, and whether it was interrupted, in a sentence or two."""
    said = f"{m['epochs']} epochs in {m['seconds'] / 60:.0f} minutes on {m['device']}."
    for part in m["resumed"]:
        said += f" It was interrupted and resumed after epoch {part['from_epoch']}"
        planned = part["before"]["epochs"]
        said += f", its schedule shortened from {planned} to {m['epochs']} epochs." if planned != m["epochs"] else "."
    return said


def render(text: str) -> str:
    """A page with every block between `<!-- results: NAME -->` and `<!-- /results -->` made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}", text)


def pages() -> dict[Path, str]:
    """Each page that holds results, as it should be."""
    readme = ROOT / "README.md"
    cards = {path.with_name("README.md"): card(path.parent) for path in sorted(EMBEDDED.glob(f"*/{CONFIG}"))}
    return {readme: render(readme.read_text(encoding="utf-8")), **cards}


def stale() -> list[str]:
    """The pages that differ from what the measured files say."""
    return [
        str(path.relative_to(ROOT))
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def _last_split(folder: Path) -> str:
    splits = _metrics(folder)["splits"]
    return "test" if "test" in splits else "validation"


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is stale")
    args = parser.parse_args(argv)
    old = stale()
    if args.check:
        for name in old:
            print(f"stale: {name}")
        return 1 if old else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    print("rewritten: " + (", ".join(old) or "nothing"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
