"""Results: every measured table in README, SECURITY.md and model cards, rendered from what the measurements wrote.

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

from deepfer.checkpoint import DETECTOR, EMBEDDED, METRICS, MODEL, embedded_models, read_config
from deepfer.face import LABELS

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_name("model_card.md")
SEED = Path(__file__).parent / "checkpoints" / "seed"  # what it was measured to be; nobody needs the model
SEED_NAME = "(a plain `cnn`, by the recipe `seed`)"
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- /results -->)", re.DOTALL)


def percent(share: float | None) -> str:
    """A share as percent with one decimal; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def models() -> str:
    """The embedded checkpoints side by side, and the original project's recipe: each head against its own labels."""
    rows = []
    for folder in (*embedded_models(), SEED):
        splits = _metrics(folder)["splits"]
        name, size = SEED_NAME, "–"
        if folder != SEED:
            name = f"[`{folder.name}`]({(folder / 'README.md').relative_to(ROOT).as_posix()})"
            size = f"{(folder / MODEL).stat().st_size / 1e6:.1f}"
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


def with_interval(m: dict[str, Any]) -> str:
    """An accuracy in percent, and its 95 % interval."""
    low, high = m["accuracy_interval"]
    return f"{percent(m['accuracy'])} ({percent(low)}–{percent(high)})"


def _measured(folder: Path) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Each output with its labels, split and figures."""
    metrics = _metrics(folder)
    own, splits = _own_labels(metrics["dataset"]), metrics["splits"]
    for split in sorted(splits, reverse=True):
        against = splits[split]
        if "head" in against["fer2013"]:
            yield f"FER2013 head, {own}", split, against["fer2013"]["head"]
        yield f"served, {own}", split, against["fer2013"]["served"]
        if against["ferplus"]:
            yield "served, FER+ majority", split, against["ferplus"]["served"]


def accuracy(folder: Path) -> str:
    """A checkpoint's outputs against both label sets, on each split that was measured."""
    rows = [
        (
            output, split, m["n"], with_interval(m), percent((m["without_near_duplicates"] or {}).get("accuracy")),
            percent(m["flip_tta"]["accuracy"]), percent(m["balanced_accuracy"]), percent(m["macro_f1"]),
        )
        for output, split, m in _measured(folder)
    ]  # fmt: skip
    head = (
        "Output, labels", "split", "images", "accuracy % (95 % interval)", "without near-duplicates %",
        "mirrored too %", "balanced %", "macro F1 %",
    )  # fmt: skip
    return table(head, rows)


def calibration(folder: Path) -> str:
    """Calibration errors before and after the temperature."""
    rows = [
        (output, split, f"{m['ece_untempered']:.3f}", f"{m['ece']:.3f}", f"{m['log_loss']:.3f}")
        for output, split, m in _measured(folder)
    ]
    return table(("Output, labels", "split", "ECE before", "ECE as served", "log loss as served"), rows)


def held_out(config: dict[str, Any]) -> str:
    """How the heads were calibrated, and how accurate they are where that was not fitted; "" where they were not."""
    found = config.get("calibration")
    if not found:
        return ""
    names = {"fer2013": "FER2013", "ferplus": "FER+"}
    right = " and ".join(
        f"{percent(fitted['held_out_accuracy'])} % ({names[head]} head)" for head, fitted in found.items()
    )
    return (
        "Before the heads were blended, the logits of each were scaled and given a bias for each emotion, by its own "
        "labels on validation (bias-corrected temperature scaling, Alexandari et al. 2020); both are part of the file. "
        f"What is fitted on nine tenths of validation is right, of the tenth that is left, for {right}.\n"
    )


def robustness(folder: Path) -> str:
    """What each change at each strength costs."""
    found = _metrics(folder).get("robustness")
    if not found:
        return "Not measured."
    rows = []
    for name, change in found["changes"].items():
        cells = [
            f"{s['strength']:g}: {percent(s['accuracy'])} ({100 * (s['accuracy'] - found['accuracy']):+.1f})"
            for s in change["strengths"]
        ]
        rows.append((f"{name} ({change['unit']})", *cells, *[""] * (3 - len(cells))))
    every = [s["accuracy"] for change in found["changes"].values() for s in change["strengths"]]
    return (
        f"{found['images']} validation pictures, the served output against {found['labels']}: "
        f"{percent(found['accuracy'])} % are right as they are, "
        f"{percent(sum(every) / len(every))} % on average over the changes. "
        "A cell: strength, accuracy in %, points more or less."
        "\n\n" + table(("Change (strength in)", "mild", "strong", "stronger"), rows)
    )


def figures(folder: Path) -> str:
    """The plots of the last split, and that of the robustness, where there are any."""
    split = _last_split(folder)
    listed = {
        f"{split}-fer2013-confusion.png": f"Confusion matrix of the FER2013 head on {split}",
        f"{split}-ferplus-confusion.png": f"Confusion matrix of the served output against FER+'s majority on {split}",
        f"{split}-ferplus-roc.png": f"ROC curve of each emotion, served output against FER+'s majority on {split}",
        f"{split}-calibration.png": f"Reliability before and after temperature scaling on {split}",
        "robustness.png": "Points of accuracy lost to each way of making the pictures worse",
    }
    return "\n\n".join(f"![{alt}](plots/{name})" for name, alt in listed.items() if (folder / "plots" / name).exists())


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
            percent(m["loss"]), percent(m["loss_where_detected"]),
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
    m = _metrics(folder).get("explanation")
    if not m:
        return "Not measured."
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
    busy = f", load average {m['load_before']:.1f} before" if m["load_before"] > 0.5 else ""
    return table(head, rows) + f"\n\n{m['clip']}; {m['processor']}{busy}; detector: {m['detector']}."


def detection() -> str:
    """The table of `benchmarks/detection.json`."""
    from benchmarks.detection import markdown

    return markdown(json.loads((ROOT / "benchmarks" / "detection.json").read_text()))


def webcam() -> str:
    """The tables of `benchmarks/webcam.json`."""
    from benchmarks.webcam import markdown

    return markdown(json.loads((ROOT / "benchmarks" / "webcam.json").read_text()))


def endpoint() -> str:
    """The tables of `benchmarks/endpoint.json`."""
    from benchmarks.endpoint import markdown

    return markdown(json.loads((ROOT / "benchmarks" / "endpoint.json").read_text()))


def peers() -> str:
    """The tables of `benchmarks/peers.json` and its chart."""
    from benchmarks.peers.report import markdown

    return _with_chart("peers", markdown, "DeepFER beside other libraries: time, memory, size and accuracy as bars")


def breakdown() -> str:
    """The table of `benchmarks/breakdown.json` and its chart."""
    from benchmarks.breakdown import markdown

    return _with_chart("breakdown", markdown, "Where the time of a frame and of photos goes, as bars")


def growth() -> str:
    """The tables of `benchmarks/growth.json` and its chart."""
    from benchmarks.growth import markdown

    return _with_chart("growth", markdown, "Time and memory by faces, by megapixels and by workers, as lines")


def tried() -> str:
    """The table of `benchmarks/tried.json`."""
    from benchmarks.tried import markdown

    path = ROOT / "benchmarks" / "tried.json"
    return markdown(json.loads(path.read_text())) if path.exists() else "Not recorded."


def _with_chart(name: str, markdown: Callable[[dict[str, Any]], str], alt: str) -> str:
    path = ROOT / "benchmarks" / f"{name}.json"
    if not path.exists():
        return "Not measured."
    return f"{markdown(json.loads(path.read_text()))}\n\n![{alt}](docs/{name}.png)"


def example(part: str) -> str:
    """The README's example in Python or on the command line, with what was answered, from `docs/example.json`."""
    m = json.loads((ROOT / "docs" / "example.json").read_text())
    if part == "python":
        return f"```python\n{m['code']}```\n\n```\n{m['printed']}```"
    return f"```\n$ {m['command']}\n{m['said']}```"


CNN = EMBEDDED / "cnn"
BLOCKS: dict[str, Callable[[], str]] = {
    "python": lambda: example("python"),
    "command": lambda: example("command"),
    "models": models,
    "pipeline": lambda: pipeline(CNN),
    "explanation": lambda: explanation(CNN),
    "speed": speed,
    "video": video,
    "detection": detection,
    "webcam": webcam,
    "endpoint": endpoint,
    "peers": peers,
    "breakdown": breakdown,
    "growth": growth,
    "tried": tried,
}


def _own_labels(dataset: str) -> str:
    return "FER2013" if _is_fer2013(dataset) else "the dataset's labels"


def _is_fer2013(dataset: str) -> bool:
    return bool(re.search(r"fer.?(2013|plus)", dataset, re.IGNORECASE))


def card(folder: Path, source: str | None = None) -> str:
    """A checkpoint's model card, from its config and metrics; `source` is what a reader gives to load it."""
    config, metrics = read_config(folder), _metrics(folder)
    name = config.get("model", folder.name)
    return Template(TEMPLATE.read_text()).substitute(
        model=name,
        source=source or (folder.name if folder.parent == EMBEDDED else folder),
        size=f"{(folder / MODEL).stat().st_size / 1e6:.1f}",
        input=f"{config['input']['size']}x{config['input']['size']}",
        temperature=config["temperature"]["logits"],
        results=accuracy(folder),
        last_split=_last_split(folder),
        **_figures_of(folder, config),
        per_class=per_class(folder),
        calibration=calibration(folder),
        held_out=held_out(config),
        robustness=robustness(folder),
        explanation=explanation(folder),
        pipeline=pipeline(folder),
        figures=figures(folder),
        recipe=config.get("recipe"),
        seed=config.get("seed"),
        training=training(config["training"]),
        dataset=metrics["dataset"],
        again=_again(name, config),
        **about_data(metrics["dataset"]),
    )


def _figures_of(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """What a card's figures are of."""
    metrics = _metrics(folder)
    splits, own = metrics["splits"], _own_labels(metrics["dataset"])
    voted = any(against["ferplus"] for against in splits.values())
    return {
        "chosen": "Chosen on validation; test measured once." if "test" in splits else "Chosen on validation.",
        "outputs": f"The FER2013 head answers to {own if own == 'FER2013' else 'the dataset'}'s own labels, the served "
        f"output is a blend of both heads ({100 * config['fer2013_share']:.0f} % of FER2013's)."
        if voted
        else f"There were no votes of several people, so the served output answers to {own} alone.",
        "truth": "FER+'s majority" if splits[_last_split(folder)]["ferplus"] else own,
    }


def _again(model: str, config: dict[str, Any]) -> str:
    """The command that trains such a model."""
    if config.get("recipe") == "default":
        return f"make train-{model} DATASET=path/or/hub-id"
    start = config["training"].get("init")
    init = f" --init {start['source']}" if start else ""
    return (
        f"python -m training.train --model {model} --recipe {config.get('recipe')}{init} --dataset path/or/hub-id "
        f"--out runs/{model}"
    )


def about_data(dataset: str) -> dict[str, str]:
    """What a card says of the data that a model was made from: its limits, and what its licence leaves open."""
    if not _is_fer2013(dataset):
        return {
            "people": "those who labelled its training pictures",
            "limits": "It is weakest on people and in circumstances that its training pictures show rarely.",
            "data": f"On what terms its training pictures, {dataset}, may be used, their makers say.",
        }
    return {
        "people": "ten strangers",
        "limits": "It was trained on gray 48-pixel web pictures from before 2013 with noisy labels: it is weakest on "
        "disgust and fear, on profiles, on dark or covered faces, and on people whom such pictures show rarely.",
        "data": "The training pictures are not: FER2013 (Goodfellow et al. 2013) was gathered from the web for a "
        "research competition, and no licence of its pictures is known. The votes on them, FER+ (Barsoum et al. 2016), "
        "are under the MIT licence.",
    }


def training(m: dict[str, Any]) -> str:
    """What the training started from, how long it took, where, and whether it was interrupted, in a few sentences."""
    phases = m.get("phases", [m])
    epochs = [phase["epochs"] for phase in phases]
    said = f"{' + '.join(map(str, epochs))} epochs in {m['seconds'] / 60:.0f} minutes on {m['device']}."
    if start := m.get("init"):
        said += f" It started from {start['source']} (sha256 {start['sha256']})."
    elif "weights" in phases[0]:
        weights = phases[0]["weights"]
        said += f" It started from {'ImageNet weights' if weights == 'imagenet' else weights or 'scratch'}."
    if teachers := m.get("teachers"):
        said += f" It was distilled from its teachers' predictions, {teachers['file']} (sha256 {teachers['sha256']})."
    for part in m.get("resumed", []):
        said += f" It was interrupted and resumed after epoch {part['from_epoch']}"
        planned = [phase["epochs"] for phase in part.get("phases", [part.get("before")])]
        changed = f", its schedule changed from {' + '.join(map(str, planned))} epochs" if planned != epochs else ""
        if before := part.get("teachers"):
            changed += f", its teachers' predictions from {before['file']} (sha256 {before['sha256']})"
        said += f"{changed}."
    return said


def detector_card(folder: Path) -> str:
    """The face detector's model card."""
    from training.detector.card import render

    return render(read_config(folder), _metrics(folder), (folder / MODEL).stat().st_size)


def render(text: str) -> str:
    """A page with every block between `<!-- results: NAME -->` and `<!-- /results -->` made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}\n{found[3]}", text)


def pages() -> dict[Path, str]:
    """Each page that holds results, as it should be."""
    texts = {path: render(path.read_text(encoding="utf-8")) for path in (ROOT / "README.md", ROOT / "SECURITY.md")}
    texts |= {folder / "README.md": card(folder) for folder in embedded_models()}
    if (EMBEDDED / DETECTOR / METRICS).exists():
        texts[EMBEDDED / DETECTOR / "README.md"] = detector_card(EMBEDDED / DETECTOR)
    return texts


def stale() -> list[str]:
    """The pages that differ from what the measured files say."""
    return [
        str(path.relative_to(ROOT))
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / METRICS).read_text())


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
