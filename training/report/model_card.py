"""Model cards of emotion classifiers, rendered from their `config.json` and `metrics.json`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from deepfer.checkpoint import EMBEDDED, MODEL, read_config, read_metrics
from deepfer.face import CLEAR_CONFIDENCE, CLEAR_LEAD, LABELS
from training.report.markdown import percent, table

TEMPLATE = Path(__file__).with_suffix(".md")
NOT_MEASURED = "Not measured."


def render(folder: Path, source: str | None = None) -> str:
    """A checkpoint's model card.

    Args:
        folder: The checkpoint folder.
        source: What a reader passes to `from_pretrained`; None for the folder, or the name of an embedded model.
    """
    config, metrics = read_config(folder), read_metrics(folder)
    name, dataset, splits = config.get("model", folder.name), metrics["dataset"], metrics["splits"]
    own = _own_labels(dataset)
    voted = any(against["ferplus"] for against in splits.values())
    outputs = (
        f"The FER2013 head predicts {own if own == 'FER2013' else 'the dataset'}'s own labels. The served output is a "
        f"blend of both heads ({100 * config['fer2013_share']:.0f}% of FER2013's)."
        if voted
        else f"The dataset has no votes of several people, so the served output predicts {own} alone."
    )
    return Template(TEMPLATE.read_text()).substitute(
        model=name,
        source=source or (folder.name if folder.parent == EMBEDDED else folder),
        size=f"{(folder / MODEL).stat().st_size / 1e6:.1f}",
        input=f"{config['input']['size']}x{config['input']['size']}",
        temperature=config["temperature"]["logits"],
        results=accuracy(folder),
        last_split=_last_split(splits),
        chosen="All choices were made on validation" + ("; test was measured once." if "test" in splits else "."),
        outputs=outputs,
        truth="the FER+ majority" if splits[_last_split(splits)]["ferplus"] else own,
        per_class=per_class(folder),
        calibration=calibration(folder),
        held_out=held_out(config),
        unclear=unclear(folder),
        robustness=robustness(folder),
        explanation=explanation(folder),
        pipeline=pipeline(folder),
        figures=figures(folder),
        recipe=config.get("recipe"),
        seed=config.get("seed"),
        training=training(config["training"]),
        dataset=dataset,
        again=_again(name, config),
        **_about_data(dataset),
    )


def accuracy(folder: Path) -> str:
    """Table: a checkpoint's outputs against both label sets, on each split measured."""
    rows = [
        (
            output, split, m["n"], with_interval(m), percent((m["without_near_duplicates"] or {}).get("accuracy")),
            percent(m["flip_tta"]["accuracy"]), percent(m["balanced_accuracy"]), percent(m["macro_f1"]),
        )
        for output, split, m in _measured(folder)
    ]  # fmt: skip
    head = (
        "Output, labels", "split", "images", "accuracy % (95% interval)", "without near-duplicates %",
        "with mirrored copy %", "balanced %", "macro F1 %",
    )  # fmt: skip
    return table(head, rows)


def per_class(folder: Path) -> str:
    """Table: each label of the served output on the last split, against the FER+ majority if there is one."""
    splits = read_metrics(folder)["splits"]
    split = splits[_last_split(splits)]
    measured = (split["ferplus"] or split["fer2013"])["served"]["per_class"]
    rows = [
        (
            label, m["support"], percent(m["precision"]), percent(m["recall"]), percent(m["f1"]),
            "–" if m["roc_auc"] is None else f"{m['roc_auc']:.3f}",
        )
        for label, m in ((label, measured[label]) for label in LABELS)
    ]  # fmt: skip
    return table(("Emotion", "images", "precision %", "recall %", "F1 %", "AUC"), rows)


def calibration(folder: Path) -> str:
    """Table: calibration errors before and after temperature scaling."""
    rows = [
        (output, split, f"{m['ece_untempered']:.3f}", f"{m['ece']:.3f}", f"{m['log_loss']:.3f}")
        for output, split, m in _measured(folder)
    ]
    return table(("Output, labels", "split", "ECE before", "ECE as served", "log loss as served"), rows)


def unclear(folder: Path) -> str:
    """Table: how often the served output is unclear, and how often it is then right, on each split measured."""
    rows = [
        (
            output, split, percent(m["share"]), percent(m["first_right"]), percent(m["first_or_second_right"]),
            percent(m["rest_right"]),
        )
        for output, split, m in ((output, split, m.get("unclear")) for output, split, m in _measured(folder))
        if m
    ]  # fmt: skip
    if not rows:
        return NOT_MEASURED
    head = (
        "Output, labels", "split", "unclear %", "first emotion right %", "first or second right %",
        "first right among the rest %",
    )  # fmt: skip
    return (
        f"A face is unclear if the most probable emotion has less than {CLEAR_CONFIDENCE:.0%}, or leads the second by "
        f"less than {100 * CLEAR_LEAD:.0f} points. It is then called, for example, “neutral or angry?”.\n\n"
        + table(head, rows)
    )


def held_out(config: dict[str, Any]) -> str:
    """How the heads were calibrated, and their cross-validated accuracy; "" if they were not calibrated."""
    found = config.get("calibration")
    if not found:
        return ""
    names = {"fer2013": "FER2013", "ferplus": "FER+"}
    right = " and ".join(
        f"{percent(fitted['held_out_accuracy'])}% ({names[head]} head)" for head, fitted in found.items()
    )
    return (
        "Before the heads were blended, each head's logits were scaled and biased per emotion on its own validation "
        "labels (bias-corrected temperature scaling, Alexandari et al. 2020); this is part of the file. Ten-fold "
        f"cross-validated accuracy on validation: {right}.\n"
    )


def robustness(folder: Path) -> str:
    """Table: the accuracy under each corruption at each strength."""
    found = read_metrics(folder).get("robustness")
    if not found:
        return NOT_MEASURED
    rows = []
    for name, change in found["changes"].items():
        cells = [
            f"{s['strength']:g}: {percent(s['accuracy'])} ({100 * (s['accuracy'] - found['accuracy']):+.1f})"
            for s in change["strengths"]
        ]
        rows.append((f"{name} ({change['unit']})", *cells, *[""] * (3 - len(cells))))
    every = [s["accuracy"] for change in found["changes"].values() for s in change["strengths"]]
    return (
        f"Accuracy of the served output on {found['images']} validation images against {found['labels']}: "
        f"{percent(found['accuracy'])}% on the originals, {percent(sum(every) / len(every))}% on average over the "
        "corruptions. Each cell gives the strength, the accuracy in percent and the difference in points."
        "\n\n" + table(("Corruption (unit)", "mild", "strong", "stronger"), rows)
    )


def pipeline(folder: Path) -> str:
    """Table: what detection and alignment lose, per detector and angle."""
    found = read_metrics(folder).get("pipeline", {})
    if not found:
        return NOT_MEASURED
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
        f"{first['images']} validation faces, 80 to 240 pixels wide, pasted into 640x480 images and rotated either "
        f"way. On the original crops the served output is {percent(first['accuracy_on_crop'])}% accurate; a missed "
        "face counts as an error.\n\n"
        + table(
            ("Detector, rotation", "found %", "accuracy %", "lost, points", "lost on faces found, points"),
            rows,
        )
    )


def explanation(folder: Path) -> str:
    """One sentence: what painting over parts of the activation map does to the probability."""
    m = read_metrics(folder).get("explanation")
    if not m:
        return NOT_MEASURED
    return (
        f"Over {m['images']} validation images, painting over the hottest quarter of the map lowers the label's "
        f"probability by {100 * m['hottest_quarter']:.1f} points; painting over the coldest quarter lowers it by "
        f"{100 * m['coldest_quarter']:.1f}."
    )


def figures(folder: Path) -> str:
    """The plots of the last split and of robustness that exist."""
    split = _last_split(read_metrics(folder)["splits"])
    listed = {
        f"{split}-fer2013-confusion.png": f"Confusion matrix of the FER2013 head on {split}",
        f"{split}-ferplus-confusion.png": f"Confusion matrix of the served output against the FER+ majority on {split}",
        f"{split}-ferplus-roc.png": f"ROC curve of each emotion, served output against the FER+ majority on {split}",
        f"{split}-calibration.png": f"Reliability before and after temperature scaling on {split}",
        "robustness.png": "Points of accuracy lost to each corruption",
    }
    return "\n\n".join(f"![{alt}](plots/{name})" for name, alt in listed.items() if (folder / "plots" / name).exists())


def training(m: dict[str, Any]) -> str:
    """Where training started, how long it took, on what device, and whether it was resumed, in a few sentences."""
    phases = m.get("phases", [m])
    epochs = [phase["epochs"] for phase in phases]
    text = f"{' + '.join(map(str, epochs))} epochs took {m['seconds'] / 60:.0f} minutes on {m['device']}."
    if start := m.get("init"):
        text += f" It started from {start['source']} (sha256 {start['sha256']})."
    elif "weights" in phases[0]:
        weights = phases[0]["weights"]
        text += f" It started from {'ImageNet weights' if weights == 'imagenet' else weights or 'scratch'}."
    if teachers := m.get("teachers"):
        text += f" It was distilled from the soft targets in {teachers['file']} (sha256 {teachers['sha256']})."
    for part in m.get("resumed", []):
        text += f" Training was interrupted and resumed after epoch {part['from_epoch']}"
        planned = [phase["epochs"] for phase in part.get("phases", [part.get("before")])]
        changed = [f"its schedule was {' + '.join(map(str, planned))} epochs"] if planned != epochs else []
        if before := part.get("teachers"):
            changed.append(f"its soft targets were {before['file']} (sha256 {before['sha256']})")
        text += (f"; before that, {' and '.join(changed)}" if changed else "") + "."
    return text


def with_interval(m: dict[str, Any]) -> str:
    """An accuracy in percent with its 95% interval."""
    low, high = m["accuracy_interval"]
    return f"{percent(m['accuracy'])} ({percent(low)}–{percent(high)})"


def _measured(folder: Path) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Each output with its labels, split and metrics."""
    metrics = read_metrics(folder)
    own, splits = _own_labels(metrics["dataset"]), metrics["splits"]
    for split in sorted(splits, reverse=True):
        against = splits[split]
        if "head" in against["fer2013"]:
            yield f"FER2013 head, {own}", split, against["fer2013"]["head"]
        yield f"served, {own}", split, against["fer2013"]["served"]
        if against["ferplus"]:
            yield "served, FER+ majority", split, against["ferplus"]["served"]


def _last_split(splits: dict[str, Any]) -> str:
    return "test" if "test" in splits else "validation"


def _own_labels(dataset: str) -> str:
    return "FER2013" if _is_fer2013(dataset) else "the dataset's labels"


def _is_fer2013(dataset: str) -> bool:
    return bool(re.search(r"fer.?(2013|plus)", dataset, re.IGNORECASE))


def _again(model: str, config: dict[str, Any]) -> str:
    """The command that trains a model like this one."""
    if config.get("recipe") == "default":
        return f"make train-{model} DATASET=path/or/hub-id"
    start = config["training"].get("init")
    init = f" --init {start['source']}" if start else ""
    return (
        f"python -m training.train --model {model} --recipe {config.get('recipe')}{init} --dataset path/or/hub-id "
        f"--out runs/{model}"
    )


def _about_data(dataset: str) -> dict[str, str]:
    """What a card says about the training data: whose labels they are, its limits and its licence."""
    if not _is_fer2013(dataset):
        return {
            "people": "the people who labelled its training images",
            "limits": "It is least accurate on people and conditions that are rare in its training images.",
            "data": f"For the terms of its training images, {dataset}, ask their publisher.",
        }
    return {
        "people": "ten strangers",
        "limits": "It was trained on gray 48-pixel web images from before 2013 with noisy labels. It is least accurate "
        "on disgust and fear, on profiles, on dark or covered faces, and on people who are rare in such images.",
        "data": "The training images are not: FER2013 (Goodfellow et al. 2013) was collected from the web for a "
        "research competition, and no licence for its images is known. The votes on them, FER+ (Barsoum et al. 2016), "
        "are under the MIT licence.",
    }
