"""The model tab, in Chromium, and for other people's checkpoints, local and on the Hub."""

import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import HubServer

from deepfer import LABELS, EmotionRecognizer
from deepfer.checkpoint import CONFIG, EMBEDDED, METRICS, MODEL, read, resolve
from deepfer.limits import MAX_CONFIG_BYTES
from ui.comparison import EXAMPLE, Comparison, comparison_html
from ui.model_tab import code_address, model_html

CNN = EMBEDDED / "cnn"
UNKNOWN = "This model's accuracy is unknown: "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded CNN that tests may alter."""
    return Path(shutil.copytree(CNN, tmp_path / "faces"))


def metrics() -> dict[str, Any]:
    return json.loads((CNN / METRICS).read_text())


def rendered(folder: Path) -> str:
    return model_html(read(folder, "mine"), "yunet")


def test_the_page_shows_what_was_measured(page: Any) -> None:
    page.get_by_role("tab", name="Model").click()
    served = metrics()["splits"]["test"]["ferplus"]["served"]
    headline = page.locator(".fer-figures li")
    assert f"{100 * served['accuracy']:.1f}%" in headline.nth(0).inner_text()
    low, high = served["accuracy_interval"]
    interval = f"(95% confidence interval: {100 * low:.1f}% to {100 * high:.1f}%)"
    assert f"{served['n']:,} photos from the test split of fer2013 {interval}" in headline.nth(0).inner_text()
    without = f"training data: {100 * served['without_near_duplicates']['accuracy']:.1f}%"
    assert without in headline.nth(0).inner_text()
    assert f"{100 * served['balanced_accuracy']:.1f}%" in headline.nth(1).inner_text()
    assert f"{100 * served['ece']:.1f} percentage points" in headline.nth(2).inner_text()
    each = page.locator(".fer-each").first.locator("tbody tr")
    assert each.count() == len(LABELS)
    for i, label in enumerate(LABELS):
        words = each.nth(i).inner_text().replace("%", "").split()
        recall, precision = (f"{100 * served['per_class'][label][key]:.0f}" for key in ("recall", "precision"))
        assert words[1:] == [label, f"{served['per_class'][label]['support']:,}", recall, precision]
    rows = page.locator(".fer-confusion").first.locator("tbody tr")
    happy = rows.nth(LABELS.index("happy")).locator("td")
    assert happy.nth(LABELS.index("happy")).inner_text() == f"{100 * served['per_class']['happy']['recall']:.0f}"
    robustness = metrics()["robustness"]
    rows = page.get_by_role("table", name="Accuracy on harder photos").first.locator("tbody tr")
    accuracies = {"unchanged": robustness["accuracy"]}
    accuracies |= {name: change["strengths"][-1]["accuracy"] for name, change in robustness["changes"].items()}
    for i, (name, accuracy) in enumerate(accuracies.items()):
        assert rows.nth(i).inner_text().replace("%", "").split() == [*name.split(), f"{100 * accuracy:.0f}"]
    tab = page.get_by_role("tabpanel").filter(has=page.locator(".fer-models")).inner_text()
    assert "does not know what a person feels" in tab
    assert "Nobody has measured how well these models work by age, sex or skin colour" in tab
    assert "The figure for “disgust” is based on only 22 photos." in tab
    page.set_viewport_size({"width": 320, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    right = page.locator(".fer-confusion").first.bounding_box()
    assert right["x"] + right["width"] <= 320
    bars = page.locator(".fer-each").first.locator(".fer-track")
    assert bars.count() == 2 * len(LABELS)
    for i in range(bars.count()):  # narrow, but there
        box = bars.nth(i).bounding_box()
        assert box["width"] >= 30
        assert box["x"] + box["width"] <= 320


def test_both_models_are_described_in_words(page: Any) -> None:
    page.get_by_role("tab", name="Model").click()
    table = page.get_by_role("table", name="The models side by side")
    assert "Custom CNN" in table.inner_text()
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in table.inner_text().splitlines() if "%" in row}
    for column, folder in enumerate((CNN, EMBEDDED / "resnet50v2")):
        served = json.loads((folder / METRICS).read_text())["splits"]["test"]["ferplus"]["served"]
        assert rows["Accuracy"][column] == f"{100 * served['accuracy']:.1f}%"
        assert rows["Average accuracy across emotions"][column] == f"{100 * served['balanced_accuracy']:.1f}%"
    page.get_by_role("button", name="ResNet50V2: model card").click()
    page.get_by_text("24.1 MB, and the input is a 48x48 grayscale image").wait_for()
    assert page.locator(".fer-model-card img").count() == 0
    assert "license: mit" not in page.content()


def test_the_models_answer_side_by_side(page: Any, astronaut: np.ndarray) -> None:
    page.get_by_role("tab", name="Model").click()
    page.get_by_role("button", name="Use the astronaut example").click()
    cells = page.get_by_role("table", name="What each model says about each face").locator("tbody td")
    cells.first.wait_for()
    for i, source in enumerate(("cnn", "resnet50v2")):
        (face,) = EmotionRecognizer.from_pretrained(source).recognize(EXAMPLE)
        words = cells.nth(i).inner_text().split()
        assert words[1] == face.emotion
        assert "unclear" not in words
    assert cells.count() == 2
    page.locator("#compared").get_by_label("Remove Image").click()
    page.locator("#comparison .fer-note").wait_for()


def test_a_photo_that_is_none_is_named(page: Any, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Model").click()
    (tmp_path / "notes.jpg").write_text("these are words\n")
    page.set_input_files("#compared input[type=file]", tmp_path / "notes.jpg")
    page.locator("#comparison [role=alert]").wait_for()
    assert "notes.jpg: not an image" in page.locator("#comparison").inner_text()


def test_each_other_model_is_loaded_once_and_late(astronaut: np.ndarray) -> None:
    recognizer = EmotionRecognizer.from_pretrained()
    comparison = Comparison(recognizer, [resolve("resnet50v2")])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(comparison.answers, [astronaut] * 4))
    assert len({len(each) for each in answers}) == 1
    own, other = answers[0]
    (expected,) = recognizer.recognize(astronaut)
    assert own.faces[0].probabilities == pytest.approx(expected.probabilities)
    assert other.faces[0].probabilities != pytest.approx(own.faces[0].probabilities)
    nobody = comparison.answers(np.zeros((64, 64, 3), np.uint8))
    assert [each.faces for each in nobody] == [[], []]
    assert "No face found" in comparison_html(astronaut, nobody, ["a", "b"])


def test_the_code_is_linked_on_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_address() is None
    monkeypatch.setenv("SPACE_ID", "user/page")
    assert code_address() == "https://huggingface.co/spaces/user/page/tree/main"
    monkeypatch.setenv("SPACE_ID", 'user/"><script>')
    assert code_address() is None


def test_a_dataset_without_votes_and_without_one_emotion(folder: Path) -> None:
    altered = metrics()
    del altered["splits"]["test"], altered["robustness"]
    against = altered["splits"]["validation"]
    against["ferplus"] = None
    served = against["fer2013"]["served"]
    served["per_class"]["disgust"] |= {"precision": None, "recall": None, "support": 0}
    served["confusion_matrix"][LABELS.index("disgust")] = [0] * len(LABELS)
    altered["dataset"] = "user/smiles@0123abc"
    (folder / METRICS).write_text(json.dumps(altered))
    html = rendered(folder)
    assert "the validation split of user/smiles@0123abc" in html
    assert "the dataset&#39;s own label" in html
    assert html.count("<td>–</td>") == 2 + len(LABELS)
    assert "Harder photos" not in html


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "contains no metrics.json: create it with training.evaluate"),
        (lambda path: path.write_text("{"), "metrics.json is not JSON"),
        (lambda path: path.write_text("[]"), "metrics.json is not a JSON object"),
        (lambda path: path.write_text(json.dumps(metrics() | {"model_sha256": "0" * 64})), "for another model file"),
        (lambda path: path.write_text(json.dumps(metrics()) + " " * MAX_CONFIG_BYTES), "is larger than 1000 kB"),
        (
            lambda path: path.write_text(json.dumps(metrics() | {"splits": {}})),
            "training.evaluate writes: it has no split",
        ),
        (lambda path: path.write_text(json.dumps(metrics() | {"splits": {"all": {}}})), "a field is missing"),
    ],
)
def test_invalid_figures_get_one_message(folder: Path, spoil: Callable[[Path], Any], reason: str) -> None:
    spoil(folder / METRICS)
    html = rendered(folder)
    assert UNKNOWN in html
    assert reason in html
    assert "fer-figures" not in html


def test_anything_in_the_metrics_is_text_or_gets_a_message(folder: Path) -> None:
    """Any field may hold anything: the tab still renders, can be encoded, and holds no markup from there."""
    rng = random.Random(6)
    odd = [None, -1, 2, 1e999, "<script>", "\ud800", [], {}, [["<script>"]], {"<script>": "<script>"}, True]
    known = 0
    for _ in range(400):
        altered = metrics()
        alter(altered, rng, odd)
        altered["model_sha256"] = metrics()["model_sha256"]
        (folder / METRICS).write_text(json.dumps(altered))
        html = rendered(folder)
        html.encode()
        assert "<script>" not in html
        known += UNKNOWN not in html
    assert 40 < known < 360


def alter(altered: dict[str, Any], rng: random.Random, odd: list[Any]) -> None:
    """Replace a field that is rendered, one around it, or its name by something odd."""
    altered["dataset"] = rng.choice(["fer2013", "<script>", "\ud800"])
    place: Any = rng.choice(
        [altered, altered["splits"], altered["splits"]["test"]["ferplus"]["served"], altered["robustness"]]
    )
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
            break
        place = inner
    place[key] = rng.choice(odd)
    if isinstance(place, dict) and rng.random() < 0.3:
        place[rng.choice(["<script>", "\ud800"])] = place.pop(key)


def test_figures_of_a_whole_dataset_with_a_long_name(folder: Path, page: Any) -> None:
    altered = metrics()
    altered["splits"] = {"all": altered["splits"]["test"]}
    altered["dataset"] = f"user/{'smiles' * 6}@{'0123abcd' * 5}"
    altered["robustness"]["changes"]["x" * 80] = altered["robustness"]["changes"]["blur"]
    (folder / METRICS).write_text(json.dumps(altered))
    html = rendered(folder)
    assert f"the whole of {altered['dataset'][:80]}" in html
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("tab", name="Model").click()
    page.evaluate("html => document.querySelector('article.fer-model').outerHTML = html", html)
    assert "smilessmiles" in page.locator(".fer-figures").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    widths = page.locator(".fer-model :is(table, section, li)").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().right)"
    )
    assert max(widths) <= 390


def test_figures_of_a_model_on_the_hub(hub: HubServer) -> None:
    files = {name: (CNN / name).read_bytes() for name in (CONFIG, MODEL)} | {"more": b"1"}
    bare = hub.commit("user/bare", files)
    hub.commit("user/faces", files | {METRICS: (CNN / METRICS).read_bytes()})
    checkpoint = resolve("user/faces")
    html = model_html(checkpoint, "yunet")
    assert f"{100 * metrics()['splits']['test']['ferplus']['served']['accuracy']:.1f}%" in html
    assert {path.name for path in checkpoint.folder.iterdir()} == {CONFIG, MODEL, METRICS}
    hub.requests.clear()
    assert model_html(checkpoint, "yunet") == html
    assert hub.requests == []
    assert f"{UNKNOWN}user/bare@{bare[:8]} contains no metrics.json." in model_html(resolve("user/bare"), "yunet")


def test_a_hub_that_does_not_respond_is_an_unknown_accuracy(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit("user/faces", {name: (CNN / name).read_bytes() for name in (CONFIG, MODEL, METRICS)})
    checkpoint = resolve("user/faces")
    monkeypatch.setattr("deepfer.hub.HUB_TIMEOUT_S", 1.5)
    hub.silent.set()
    assert "does not answer: no data for 1.5 s" in model_html(checkpoint, "yunet")
