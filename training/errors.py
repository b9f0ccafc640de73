"""Analyse what a classifier gets wrong, into a page of tables and plots: which emotions, when, and why.

    python -m training.errors --checkpoint cnn --dataset PATH_OR_HUB_ID --out runs/errors

It uses the validation split, because what it finds influences the next recipe. The page shows people, so it goes under
`runs/`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfer.checkpoint import read_config, resolve
from deepfer.classifier import EmotionClassifier, softmax
from deepfer.detection import load_detector
from deepfer.errors import DeepFERError
from deepfer.face import LABELS
from training.data.loading import load, name_of
from training.data.split import Split
from training.exceptions import DataError
from training.report import plots
from training.report.conditions import UNITS, enlarge, find_face, measure_conditions
from training.report.corruptions import CORRUPTIONS, corrupt, zoom
from training.report.evaluation import best_truth, logits, probabilities
from training.report.image_grid import image_grid, require_private
from training.report.markdown import percent, table
from training.report.metrics import measure

PAGE = "README.md"
QUANTILES = 5  # groups of equal size for each condition
WATCHED = (("surprise", "angry"), ("disgust", "neutral"), ("fear", "surprise"), ("sad", "neutral"))
DOUBTED = 0.2  # share of the FER+ votes from which a wrong answer is one that people gave, too
SCALES = (0.84, 0.92, 1.08, 1.16)  # of the crop around its middle: below 1 shows more of the head
SHOWN = 12  # faces per confusion


@dataclass(frozen=True)
class Answers:
    """One way to answer for every image: its name and its probabilities, float `(N, 7)`; NaN where it has no answer."""

    name: str
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """Index of the first label, int `(N,)`; -1 where there is no answer."""
        known = ~np.isnan(self.probabilities[:, 0])
        return np.where(known, np.nan_to_num(self.probabilities).argmax(axis=1), -1)


def sharpen(images: np.ndarray, amount: float) -> np.ndarray:
    """Sharpen uint8 `(N, S, S)` crops by an unsharp mask: photos that are shrunk to a crop are sharper than FER2013."""
    return np.stack([cv2.addWeighted(i, 1 + amount, cv2.GaussianBlur(i, (0, 0), 1), -amount, 0) for i in images])


def watched(truth: np.ndarray, predicted: np.ndarray) -> list[str]:
    """The percentage of each emotion of `WATCHED` that is taken for the other, from int `(N,)` labels."""
    own = {emotion: predicted[truth == LABELS.index(emotion)] for emotion, _ in WATCHED}
    return [percent(np.mean(own[a] == LABELS.index(b)) if len(own[a]) else None) for a, b in WATCHED]


class ErrorAnalysis:
    """A classifier's answers to one split, and the ones it would give under other choices of ours."""

    def __init__(self, classifier: EmotionClassifier, split: Split) -> None:
        """Classify the images as they are, after detection and alignment, and changed.

        Raises:
            DataError: The split has too few images for groups.
        """
        if len(split) < QUANTILES:
            raise DataError(f"the split has {len(split)} images: an analysis needs at least {QUANTILES}")
        self.classifier, self.split = classifier, split
        self.truth, self.truth_name = best_truth(split)
        detector, geometry = load_detector(), classifier.checkpoint.geometry
        self.faces = [find_face(image, detector) for image in split.images]
        self.conditions = measure_conditions(split, self.faces, geometry)
        self.answers = list(self._answers())

    def _answers(self) -> Iterator[Answers]:
        images, temperature = self.split.images, self.classifier.checkpoint.temperature["logits"]
        heads = logits(self.classifier, images)
        plain = softmax(heads["served"] / temperature)
        yield Answers("as served", plain)
        share = read_config(self.classifier.checkpoint.folder).get("fer2013_share")
        if "fer2013" in heads and share is not None:
            yield Answers("FER2013 head alone", softmax(heads["fer2013"]))
            if share < 1:
                yield Answers("FER+ head alone", softmax((heads["served"] - share * heads["fer2013"]) / (1 - share)))
        prior = np.bincount(self.truth[self.truth >= 0], minlength=len(LABELS)) + 1
        for power in (0.5, 1):
            weighted = plain / prior**power
            yield Answers(f"divided by frequency^{power:g}", weighted / weighted.sum(axis=1, keepdims=True))
        mirrored = probabilities(self.classifier, np.ascontiguousarray(images[:, :, ::-1]))
        yield Answers("with the mirror image", (plain + mirrored) / 2)
        for scale in SCALES:
            zoomed = np.stack([zoom(image, scale) for image in images])
            yield Answers(f"crop enlarged by {scale:g}", probabilities(self.classifier, zoomed))
        yield Answers("sharpened", probabilities(self.classifier, sharpen(images, 1)))
        yield Answers("cropped by landmarks", self._through_pipeline())

    def _through_pipeline(self) -> np.ndarray:
        found = np.array([face is not None for face in self.faces])
        answers = np.full((len(found), len(LABELS)), np.nan)
        geometry, size = self.classifier.checkpoint.geometry, self.classifier.input_size
        crops = [
            geometry.crop(enlarge(image), face, size)
            for image, face in zip(self.split.images, self.faces, strict=True)
            if face is not None
        ]
        if crops:
            answers[found] = probabilities(self.classifier, np.stack(crops))
        return answers

    def page(self, name: str, out: Path) -> str:
        """Write the plots into `out`, and return the page that shows them, in Markdown."""
        parts = [
            f"# What {self.classifier.checkpoint.name} gets wrong on {name}",
            f"Validation, {np.sum(self.truth >= 0)} images with {self.truth_name} as the truth. The page shows people: "
            "do not publish it.",
            self._confusions(out),
            self._causes(),
            self._choices(),
            self._by_condition(out),
            self._by_corruption(),
        ]
        return "\n\n".join(parts) + "\n"

    def _confusions(self, out: Path) -> str:
        served, known = self.answers[0], self.truth >= 0
        m = measure(served.probabilities[known], self.truth[known])
        plots.confusion(m["confusion_matrix"], f"As served: {m['accuracy']:.1%}", out / "confusion.png")
        counts = np.array(m["confusion_matrix"])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        np.fill_diagonal(counts, 0)
        worst = [divmod(int(i), len(LABELS)) for i in np.argsort(-counts, axis=None, kind="stable")[:SHOWN]]
        rows = [(f"{LABELS[a]} taken for {LABELS[b]}", counts[a, b], percent(shares[a, b])) for a, b in worst]
        confidence = served.probabilities.max(axis=1)
        shown = []
        for truth, predicted in WATCHED:
            wrong = self._confused(served, truth, predicted)
            if len(wrong):
                wrong = wrong[np.argsort(-confidence[wrong])][:SHOWN]
                shown.append((f"{truth}\nas {predicted}", self.split.images[wrong]))
        if shown:
            names, images = zip(*shown, strict=True)
            image_grid(images, out / "confused.png", "The most confident of the confusions that we watch", names)
        return "\n\n".join(
            [
                "## Confusions",
                "![Heat map: what was predicted for each true emotion](confusion.png)",
                table(("Confusion", "images", "% of the emotion"), rows),
                "![Faces of the confusions that we watch, one row for each](confused.png)" if shown else "",
            ]
        ).rstrip()

    def _confused(self, answers: Answers, truth: str, predicted: str) -> np.ndarray:
        rows = (self.truth == LABELS.index(truth)) & (answers.predicted == LABELS.index(predicted))
        return np.flatnonzero(rows)

    def _causes(self) -> str:
        """Attribute each error to the first cause that applies."""
        served = self.answers[0].predicted
        wrong = (self.truth >= 0) & (served != self.truth)
        votes = self.split.votes[np.arange(len(served)), served]
        # In the order in which a wrong answer is attributed.
        tests: list[tuple[str, np.ndarray]] = [
            (f"the labels: at least {DOUBTED:.0%} of the votes are for the answer", votes >= DOUBTED),
            ("the labels: the dataset's own label is the answer", self.split.labels == served),
        ]
        heads = [a.predicted == self.truth for a in self.answers if a.name.endswith("alone")]
        if heads:
            tests.append(("ours: one of the heads alone is right, the blend is not", np.any(heads, axis=0)))
        crops = [a.predicted == self.truth for a in self.answers if a.name.startswith("crop enlarged")]
        tests.append(("ours: right with a tighter or a looser crop", np.any(crops, axis=0)))
        rows, left, total = [], wrong.copy(), max(int(wrong.sum()), 1)
        for cause, applies in tests:
            rows.append((cause, int(np.sum(left & applies)), percent(np.sum(left & applies) / total)))
            left &= ~applies
        rows.append(("the network's: none of these", int(left.sum()), percent(left.sum() / total)))
        return "\n\n".join(
            [
                "## Whose errors they are",
                f"{wrong.sum()} answers are wrong. Each is attributed to the first cause that applies. Some answers "
                "are right with another crop by chance, so that line is an upper bound.",
                table(("Cause", "errors", "%"), rows),
            ]
        )

    def _choices(self) -> str:
        rows = []
        for answers in self.answers:
            known = (self.truth >= 0) & (answers.predicted >= 0)
            m = measure(answers.probabilities[known], self.truth[known])
            own = answers.predicted >= 0
            on_labels = float(np.mean(answers.predicted[own] == self.split.labels[own]))
            change = ""
            if answers is not self.answers[0]:
                before = self.answers[0].predicted[known] == self.truth[known]
                change = f"{100 * (m['accuracy'] - before.mean()):+.1f}"
            rows.append(
                (answers.name, known.sum(), percent(m["accuracy"]), change, percent(m["balanced_accuracy"]),
                 percent(on_labels), *watched(self.truth[known], answers.predicted[known]))
            )  # fmt: skip
        head = (
            "Answers", "images", "accuracy %", "change", "balanced %", "on the dataset's labels %",
            *(f"{a} as {b} %" for a, b in WATCHED),
        )  # fmt: skip
        return "\n\n".join(
            [
                "## What our own choices do",
                "The change is against the served answers for the same images, in points. `divided by frequency` "
                "raises the rare emotions. `cropped by landmarks` enlarges each crop by four, finds the face with our "
                "detector, and crops it as in a photo; images without a face found are left out.",
                table(head, rows),
            ]
        )

    def _by_condition(self, out: Path) -> str:
        known, predicted = self.truth >= 0, self.answers[0].predicted
        wrong = predicted != self.truth
        groups, rows = {}, []
        for name, values in self.conditions.items():
            usable = known & ~np.isnan(values)
            if usable.sum() < QUANTILES:
                continue
            edges = np.unique(np.quantile(values[usable], np.linspace(0, 1, QUANTILES + 1)))
            place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
            own = [usable & (place == i) for i in range(max(len(edges) - 1, 1))]
            groups[name] = [(float(values[g].mean()), float(wrong[g].mean()), int(g.sum())) for g in own if g.any()]
            spans = [f"{values[g].min():.2f} to {values[g].max():.2f}" for g in own]
            for span, g in zip([*spans, "not measured"], [*own, known & np.isnan(values)], strict=True):
                if g.any():
                    shares = watched(self.truth[g], predicted[g])
                    rows.append((name, span, g.sum(), percent(wrong[g].mean()), *shares))
        plots.error_rates(groups, UNITS, out / "conditions.png")
        head = ("Condition", "values", "images", "wrong %", *(f"{a} as {b} %" for a, b in WATCHED))
        meanings = "\n".join(f"- {name}: {unit}" for name, unit in UNITS.items())
        return "\n\n".join(
            [
                "## Conditions",
                meanings,
                "![Lines: the share of wrong answers under each condition](conditions.png)",
                table(head, rows, text_columns=2),
            ]
        )

    def _by_corruption(self) -> str:
        known = self.truth >= 0
        rows = []
        for name, strength, images in corrupt(self.split.images[known]):
            predicted = probabilities(self.classifier, images).argmax(axis=1)
            wrong = percent(np.mean(predicted != self.truth[known]))
            shares = watched(self.truth[known], predicted)
            rows.append((name, f"{strength:g} ({CORRUPTIONS[name].unit})", wrong, *shares))
        head = ("Corruption", "strength", "wrong %", *(f"{a} as {b} %" for a, b in WATCHED))
        return "\n\n".join(["## Corruptions", table(head, rows, text_columns=2)])


def main(argv: Sequence[str] | None = None) -> int:
    """Analyse from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.errors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, help="embedded name, folder, or user/name on the Hub")
    parser.add_argument("--dataset", required=True, help="folder, Hub id (id@revision) or .npz of training.data")
    parser.add_argument("--out", type=Path, required=True, help="a folder under runs/ or outside of the checkout")
    args = parser.parse_args(argv)
    try:
        require_private(args.out)
        args.out.mkdir(parents=True, exist_ok=True)
        classifier = EmotionClassifier(resolve(args.checkpoint))
        split = load(args.dataset, classifier.input_size)["validation"]
        page = ErrorAnalysis(classifier, split).page(name_of(args.dataset), args.out)
        (args.out / PAGE).write_text(page, encoding="utf-8")
    except (DataError, DeepFERError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(args.out / PAGE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
