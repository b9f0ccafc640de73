"""The model tab: the models' accuracy, what they confuse, both on one photo, their cards and their intended use."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial

import gradio as gr

from deepfer import DeepFERError, EmotionRecognizer
from deepfer.checkpoint import EMBEDDED, METRICS, Checkpoint, embedded_models, measured, read
from ui.comparison import Comparison, add_comparison
from ui.components import DETECTORS, render
from ui.figures import Figures, read_figures
from ui.language import N_, _, decimal, label, percent, static

CARD = "README.md"
FEW = 100  # images; a figure that rests on fewer is a rough one
TITLES = {"cnn": "Custom CNN", "resnet50v2": "ResNet50V2"}
DESCRIPTIONS = {
    "cnn": N_("A small network designed for this task. It is the default: faster, and better at rare emotions."),
    "resnet50v2": N_("A well-known, larger network, trained from scratch on the same photos."),
}
DATA = {
    N_("FER2013 (photos)"): "https://arxiv.org/abs/1307.0414",
    N_("FER+ (labels by ten people)"): "https://arxiv.org/abs/1608.01041",
}
HUB = "https://huggingface.co"

Known = tuple[Figures | None, str]  # a model's figures, or None and why they are unknown


def model_tab(recognizer: EmotionRecognizer) -> None:
    """Add the tab to the surrounding `gr.Tabs`."""
    served = recognizer.classifier.checkpoint
    checkpoints = [served, *(read(path, path.name) for path in embedded_models() if path != served.folder)]
    titles = [title(checkpoint) for checkpoint in checkpoints]
    known = [figures_or_reason(checkpoint) for checkpoint in checkpoints]  # once: one on the Hub is downloaded
    with gr.Tab(label("Model"), id="model"):
        gr.HTML(
            static(lambda: render("models.html", titles=titles, measures=measures(checkpoints, known))),
            apply_default_css=False,
        )
        add_comparison(Comparison(recognizer, checkpoints[1:]), titles)
        for checkpoint, name, figures in zip(checkpoints, titles, known, strict=True):
            with gr.Accordion(label("%(model)s: all figures", model=name), open=checkpoint is served):
                shown = partial(model_html, checkpoint, recognizer.detector_name, figures)
                gr.HTML(static(shown), apply_default_css=False)
            if checkpoint.folder.parent == EMBEDDED:
                with gr.Accordion(label("%(model)s: model card", model=name), open=False):
                    gr.Markdown(f'<div lang="en">\n\n{card(checkpoint)}\n\n</div>', elem_classes="fer-model-card")
        gr.HTML(static(lambda: render("model_use.html", data=DATA, code=code_address())), apply_default_css=False)


def title(checkpoint: Checkpoint) -> str:
    """A model's name in words."""
    return TITLES.get(checkpoint.name, checkpoint.name) if checkpoint.folder.parent == EMBEDDED else checkpoint.name


def size_mb(checkpoint: Checkpoint) -> float:
    """The size of the model's file in megabytes."""
    return checkpoint.model_file.stat().st_size / 1e6


def measures(checkpoints: Sequence[Checkpoint], known: Sequence[Known]) -> dict[str, list[str]]:
    """The measures by which the models differ, in words, with each model's figure."""

    def shown(figure: Callable[[Figures], str]) -> list[str]:
        return [figure(found) if found else _("no data") for found, _reason in known]

    return {
        _("Accuracy"): shown(lambda found: percent(found.accuracy, 1)),
        _("Average accuracy across emotions"): shown(lambda found: percent(found.balanced, 1)),
        _("Calibration error"): shown(
            lambda found: _("%(number)s percentage points", number=decimal(100 * found.ece, 1))
        ),
        _("File size"): [_("%(size)s MB", size=decimal(size_mb(checkpoint), 1)) for checkpoint in checkpoints],
    }


def code_address() -> str | None:
    """Where the page's code can be read, if that is known: on a Space, beside the page."""
    space = os.environ.get("SPACE_ID", "")
    return f"{HUB}/spaces/{space}/tree/main" if re.fullmatch(r"[\w.-]+/[\w.-]+", space) else None


def card(checkpoint: Checkpoint) -> str:
    """The text of an embedded checkpoint's model card, without its header, title and plots."""
    text = (checkpoint.folder / CARD).read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?\n---\n+(# [^\n]*\n)?", "", text, flags=re.DOTALL)
    return re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", text)


def figures_or_reason(checkpoint: Checkpoint) -> Known:
    """A checkpoint's figures, or why they are unknown."""
    try:
        return read_figures(measured(checkpoint)), ""
    except DeepFERError as error:
        return None, str(error)
    except ValueError as error:
        return None, f"its {METRICS} is not in the format that training.evaluate writes: {error}"


def model_html(checkpoint: Checkpoint, detector: str, known: Known | None = None) -> str:
    """One model's figures, which are read here unless `known`."""
    figures, unknown = known or figures_or_reason(checkpoint)
    gray = checkpoint.channels == 1
    size = f"{checkpoint.input_size} \N{MULTIPLICATION SIGN} {checkpoint.input_size}"
    facts = {
        _("File size"): _("%(size)s MB", size=decimal(size_mb(checkpoint), 1)),
        _("Input"): _("%(size)s pixels, grey", size=size) if gray else _("%(size)s pixels, colour", size=size),
        _("Detector"): DETECTORS.get(detector, detector),
    }
    if checkpoint.revision:
        facts[_("Commit")] = checkpoint.revision[:8]
    embedded = checkpoint.folder.parent == EMBEDDED
    return render(
        "model.html",
        name=title(checkpoint),
        description=_(DESCRIPTIONS[checkpoint.name]) if embedded and checkpoint.name in DESCRIPTIONS else "",
        card=f"{HUB}/{checkpoint.name}/blob/{checkpoint.revision}/{CARD}" if checkpoint.revision else None,
        facts=facts,
        figures=figures,
        few=FEW,
        unknown=unknown,
        source_file=METRICS,
    )
