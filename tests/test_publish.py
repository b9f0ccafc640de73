"""Publishing a checkpoint, and pulling it again, through the real client and the loopback Hub."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hub_server import READ_TOKEN, TOKEN, HubServer

from deepfer import EmotionClassifier, __version__
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL, read, resolve
from training import publish
from training.data.loading import load, pack
from training.data.synthetic import synthetic_split
from training.report import model_card

# The client's own way to send a large file, which httpx2 would like otherwise.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]

REPO, TAG = "user/faces", f"v{__version__}"
ROOT = Path(__file__).parents[1]
KERAS_FILE = b"PK\3\4 as training wrote it"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that also holds private files."""
    copy = Path(shutil.copytree(EMBEDDED / DEFAULT, tmp_path / "checkpoint"))
    (copy / "notes.txt").write_text("private")
    return copy


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


def run(folder: Path, *more: object) -> int:
    return publish.main(words("--checkpoint", folder, "--repo", REPO, *more))


def edit(file: Path, change: Callable[[dict], Any]) -> None:
    content = json.loads(file.read_text())
    content.get("sha256", {}).pop(CONFIG, None)  # or the change alone would be refused
    change(content)
    file.write_text(json.dumps(content))


def sent(hub: HubServer) -> list[str]:
    """The requests that change the repo."""
    return [request for request in hub.requests if "/commit/" in request or "/tag/" in request or "create" in request]


def header(card: bytes) -> dict[str, Any]:
    return yaml.safe_load(card.decode().split("---\n")[1])


# --- killed on the way ---


@pytest.mark.parametrize("during", ["PUT ", "POST .*/commit/"])
def test_a_killed_publish_leaves_all_or_nothing(hub: HubServer, folder: Path, during: str) -> None:
    reached = threading.Event()

    def killed() -> None:
        process.kill()
        process.wait()
        reached.set()

    hub.fail(during, before=killed)
    command = [sys.executable, "-m", "training.publish", *words("--checkpoint", folder, "--repo", REPO)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert reached.wait(60)
    deadline = time.monotonic() + 10
    while "commit" in during and MODEL not in hub.files(REPO):  # it was all there when the program ended
        assert time.monotonic() < deadline
        time.sleep(0.02)
    left = set(hub.files(REPO))
    assert run(folder) == 0
    whole = set(hub.files(REPO))
    assert left <= {".gitattributes"} or left == whole
    assert {CONFIG, MODEL, "README.md"} <= whole
    assert hub.files(REPO)[MODEL] == (folder / MODEL).read_bytes()
    assert TAG in hub.repos[REPO].tags


# --- what is published ------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_published_in_one_tagged_commit(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder) == 0
    repo, held = hub.repos[REPO], hub.files(REPO)
    commit = repo.refs["main"]
    assert len(repo.commits) == 2  # the one that a new repo begins with, and ours
    assert repo.tags == {TAG: commit}
    assert not repo.private
    plots = {f"plots/{path.name}" for path in (folder / "plots").iterdir()}
    assert set(held) == {".gitattributes", CONFIG, MODEL, "metrics.json", "README.md"} | plots
    for name in (MODEL, "metrics.json", *plots):
        assert held[name] == (folder / name).read_bytes()
    assert json.loads(held[CONFIG]) == json.loads((folder / CONFIG).read_text())
    said = capsys.readouterr().out
    assert f"{hub.url}/{REPO}\ncommit {commit}\n" in said
    assert f'from_pretrained("{REPO}", revision="{commit}")' in said
    assert resolve(REPO, revision=TAG).revision == commit


def test_the_card_has_the_metrics(hub: HubServer, folder: Path) -> None:
    assert run(folder) == 0
    card, metrics = hub.files(REPO)["README.md"], json.loads((folder / "metrics.json").read_text())
    fields = header(card)
    assert fields["license"] == "mit"
    assert fields["pipeline_tag"] == "image-classification"
    assert fields["datasets"] == ["fer2013"]
    assert "facial-emotion-recognition" in fields["tags"]
    (model,) = fields["model-index"]
    assert model["name"] == "faces"
    found = {
        (result["dataset"]["split"], result["dataset"]["config"], metric["type"]): metric["value"]
        for result in model["results"]
        for metric in result["metrics"]
    }
    assert len(found) == len(metrics["splits"]) * 2 * 3
    for split, against in metrics["splits"].items():
        served = against["ferplus"]["served"]
        assert found[split, "FER+ majority", "accuracy"] == pytest.approx(served["accuracy"], abs=5e-5)
        assert found[split, "FER+ majority", "expected_calibration_error"] == pytest.approx(served["ece"], abs=5e-5)
        head = against["fer2013"]["head"]
        assert found[split, "own labels", "f1"] == pytest.approx(head["macro_f1"], abs=5e-5)
        assert f"{100 * served['accuracy']:.1f}" in card.decode()
    for words_of_it in (f'EmotionRecognizer.from_pretrained("{REPO}")', "no licence for its images is known"):
        assert words_of_it in card.decode()
    for path in (folder / "plots").iterdir():
        assert f"(plots/{path.name})" in card.decode()


def test_cards_for_other_data_do_not_mention_fer2013(hub: HubServer, folder: Path) -> None:
    edit(folder / "metrics.json", lambda m: m.update(dataset="user/smiles@0123abc"))
    assert run(folder) == 0
    card = hub.files(REPO)["README.md"]
    assert header(card)["datasets"] == ["user/smiles"]
    named = {(r["dataset"]["type"], r["dataset"]["revision"]) for r in header(card)["model-index"][0]["results"]}
    assert named == {("user/smiles", "0123abc")}
    assert "its training images, user/smiles@0123abc" in card.decode()
    for words in ("Goodfellow", "FER2013's own", "ten strangers"):
        assert words not in card.decode()
    assert "| served, the dataset's labels | validation |" in card.decode()


def test_cards_without_votes_do_not_mention_them(folder: Path) -> None:
    def without_votes(metrics: dict) -> None:
        metrics["splits"] = {"validation": metrics["splits"]["validation"] | {"ferplus": None}}
        metrics |= {"dataset": "user/smiles", "robustness": None}

    edit(folder / "metrics.json", without_votes)
    edit(folder / CONFIG, lambda c: c.update(recipe="finetune"))
    edit(folder / CONFIG, lambda c: c["calibration"].pop("ferplus"))  # without votes, `training.export` fits none
    edit(folder / CONFIG, lambda c: c["training"].update(init={"source": "cnn", "sha256": "0"}))
    shutil.rmtree(folder / "plots")
    card = model_card.render(folder)
    assert "FER" not in card.replace("FER2013 head", "").replace("DeepFER", "")
    assert "test measured" not in card
    assert "--recipe finetune --init cnn" in card
    assert "make train" not in card


def test_a_converted_model_keeps_its_owners_card(hub: HubServer, folder: Path) -> None:
    def convert(config: dict) -> None:
        for key in ("recipe", "seed", "training", "fer2013_share"):
            del config[key]
        config |= {"model": "old.h5", "converted": {"rescale": "0-1", "gate": "validation"}}

    edit(folder / CONFIG, convert)
    own = f'---\nlicense: cc-by-4.0\n---\n\n# old\n\nMine.\n\nEmotionRecognizer.from_pretrained("{folder.name}")\n'
    (folder / "README.md").write_text(own)
    assert run(folder) == 0
    card = hub.files(REPO)["README.md"]
    assert header(card)["license"] == "cc-by-4.0"
    assert header(card)["model-index"]
    for line in ("Mine.", f'from_pretrained("{REPO}")', "| surprise |", "(plots/validation-ferplus-roc.png)"):
        assert line in card.decode()
    assert "MIT" not in card.decode()


def test_publishing_again_makes_no_commit(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert run(folder) == 0
    commit = hub.repos[REPO].refs["main"]
    hub.requests.clear()
    assert run(folder) == 0
    assert sent(hub) == []
    assert hub.repos[REPO].refs["main"] == commit
    assert f"nothing has changed; commit {commit}" in capsys.readouterr().out


def test_a_new_version_needs_a_new_tag(
    hub: HubServer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.keras").write_bytes(b"anything")
    assert run(folder, "--keras", tmp_path / "best.keras") == 1
    assert "best.keras is not a .keras file" in capsys.readouterr().err
    (tmp_path / "best.keras").write_bytes(KERAS_FILE)
    assert run(folder, "--keras", tmp_path / "best.keras") == 0
    first = hub.repos[REPO].refs["main"]
    assert hub.files(REPO)["model.keras"] == KERAS_FILE
    hashes = json.loads(hub.files(REPO)[CONFIG])["sha256"]
    assert hashes["model.keras"] == hashlib.sha256(KERAS_FILE).hexdigest()
    assert hashes[CONFIG] != json.loads((folder / CONFIG).read_text())["sha256"][CONFIG]  # it covers that hash too
    assert resolve(REPO).revision == first
    hub.commit(REPO, {**hub.files(REPO), "people.md": b"what somebody added on the Hub"})
    (folder / "plots" / "validation-calibration.png").unlink()

    hub.requests.clear()
    assert run(folder) == 1
    assert f"already has a {TAG} with other content: choose a new version with --tag" in capsys.readouterr().err
    assert sent(hub) == []
    assert run(folder, "--tag", "v9.0.0") == 0
    held = hub.files(REPO)
    assert "model.keras" not in held
    assert "plots/validation-calibration.png" not in held
    assert held["people.md"] == b"what somebody added on the Hub"
    assert hub.repos[REPO].tags == {TAG: first, "v9.0.0": hub.repos[REPO].refs["main"]}


def test_a_dry_run_sends_nothing(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert run(folder, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "model-index:" in said
    assert "## Results" in said
    for name in (CONFIG, MODEL, "plots/validation-calibration.png"):
        assert f"  {name} " in said
    assert "notes.txt" not in said
    assert hub.requests == []


def test_private_repos(hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--private") == 0
    assert hub.repos[REPO].private
    hub.reset({REPO: {"README.md": b"for everybody"}})
    assert run(folder, "--private") == 1
    assert "is already public" in capsys.readouterr().err
    assert sent(hub) == []


def test_a_pull_request_leaves_main_unchanged(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    main = hub.commit(REPO, {"README.md": b"as it was"})
    assert run(folder, "--pr") == 0
    assert hub.repos[REPO].refs["main"] == main
    assert hub.repos[REPO].tags == {}
    said = capsys.readouterr().out
    proposed = hub.repos[REPO].refs["refs/pr/1"]
    assert f"{hub.url}/{REPO}/discussions/1\ncommit {proposed}" in said
    assert resolve(REPO, revision="refs/pr/1").revision == proposed


# --- what is not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / MODEL).write_bytes((f / MODEL).read_bytes()[:-1] + b"?"), "sha256 differs"),
        (lambda f: (f / MODEL).unlink(), f"contains no {MODEL}"),
        (lambda f: (f / CONFIG).write_text("{}"), "'format_version' is missing"),
        (lambda f: edit(f / CONFIG, lambda c: c.pop("gate")), "records no parity check"),
        (lambda f: edit(f / CONFIG, lambda c: c.pop("recorded_labels")), "records no predicted labels"),
        (lambda f: edit(f / CONFIG, lambda c: c["outputs"].update(logits="other")), "has no output 'other'"),
        (lambda f: (f / "metrics.json").unlink(), "contains no metrics.json: create it"),
        (lambda f: (f / "metrics.json").write_text("{"), "is not JSON"),
        (lambda f: edit(f / "metrics.json", lambda m: m.pop("splits")), "was not written by training.evaluate"),
        (lambda f: edit(f / "metrics.json", lambda m: m.update(model_sha256="0" * 64)), "for another model file"),
        (lambda f: edit(f / "metrics.json", lambda m: m["splits"].pop("validation")), "lacks the validation split"),
    ],
)
def test_incomplete_folders_are_not_published(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], Any], said: str
) -> None:
    spoil(folder)
    assert run(folder) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert hub.requests == []


def test_a_missing_write_permission_is_reported(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for held, said in ((READ_TOKEN, "does not give access"), ("hf_of_nobody", "does not accept the token")):
        monkeypatch.setenv("HF_TOKEN", held)
        assert run(folder) == 1
        assert said in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    hub.requests.clear()
    assert run(folder) == 1
    assert "no token to publish with: log in with `hf auth login`" in capsys.readouterr().err
    assert hub.requests == []
    assert hub.repos == {}
    with pytest.raises(SystemExit, match="2"):
        publish.main(words("--checkpoint", folder, "--repo", "nonsense"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"pattern": "POST.*/commit/", "status": 500}, "an internal error (500)"),
        ({"pattern": "PUT /lfs/", "status": 400}, "refused user/faces"),
        ({"pattern": "POST.*/preupload/", "status": 403}, "does not give access"),
        ({"pattern": "GET /api/models/user/faces$", "status": 429, "headers": {"Retry-After": "100"}}, "wait 100 s"),
        (
            {"pattern": "validate-yaml", "status": 400, "body": b'{"errors": [{"message": "bad license"}]}'},
            "does not accept the header of README.md: bad license",
        ),
    ],
)
def test_a_failure_leaves_the_repo_unchanged(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str], fault: dict[str, Any], said: str
) -> None:
    main = hub.commit(REPO, {"README.md": b"as it was"})
    hub.fail(**fault)
    assert run(folder) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert hub.repos[REPO].refs == {"main": main}
    assert hub.repos[REPO].tags == {}
    assert run(folder) == 0
    assert MODEL in hub.files(REPO)


def test_concurrent_changes_are_noticed(hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.commit(REPO, {"README.md": b"as it was"})
    hub.fail("POST.*/commit/", before=lambda: hub.commit(REPO, {"README.md": b"theirs"}))
    assert run(folder) == 1
    assert "someone else changed user/faces in the meantime, so nothing was published" in capsys.readouterr().err
    assert hub.files(REPO) == {"README.md": b"theirs"}
    assert run(folder) == 0


def test_a_refused_header_creates_no_repo(hub: HubServer, folder: Path) -> None:
    hub.fail("validate-yaml", status=400, body=b'{"errors": [{"message": "bad"}]}')
    assert run(folder) == 1
    assert hub.repos == {}


def test_a_failed_tag_is_retried(
    hub: HubServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    hub.fail("POST.*/tag/", status=500)
    assert run(folder) == 1
    commit = hub.repos[REPO].refs["main"]
    assert f"is at {commit} but lacks the tag {TAG}: run this again" in capsys.readouterr().err
    assert run(folder) == 0
    assert hub.repos[REPO].refs["main"] == commit
    assert hub.repos[REPO].tags == {TAG: commit}


def test_an_unreachable_hub_is_reported(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training.publish", "--checkpoint", folder, "--repo", REPO],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: cannot reach the Hub at http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


# --- from a run to the Hub and back -----------------------------------------------------------------------------------


def test_a_published_model_gives_the_same_probabilities(hub: HubServer, tmp_path: Path) -> None:
    """The steps of `make publish`, and then a pull into an empty cache by another process."""
    from training import train

    dataset, out = tmp_path / "drawn.npz", tmp_path / "runs" / "smoke"
    sizes = {"train": 70, "validation": 70, "test": 35}
    pack({name: synthetic_split(size, seed) for seed, (name, size) in enumerate(sizes.items())}, dataset)
    asked = words("--model", "cnn", "--dataset", dataset, "--out", out, "--recipe", "smoke", "--epochs", 1)
    assert train.main(asked) == 0
    made = ["make", "-n", "-o", ".venv/test", "publish", f"RUN={out}", f"REPO={REPO}", f"DATASET={dataset}"]
    lines = subprocess.run(
        [*made, "EXPORT=--float32"], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.splitlines()  # fmt: skip
    steps = [shlex.split(line)[2:] for line in lines if " -m training." in line]
    assert [module for module, *_ in steps] == [
        "training.export", "training.evaluate", "training.evaluate", "training.publish",
    ]  # fmt: skip
    for module, *arguments in steps:
        assert import_module(module).main(arguments) == 0

    crops = load(dataset)["test"].images
    np.save(tmp_path / "crops.npy", crops)
    code = (
        "import sys, numpy as np, deepfer\n"
        "recognizer = deepfer.EmotionRecognizer.from_pretrained('user/faces')\n"
        "crops = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], [recognizer.classifier.predict(crops, head=head) for head in ('served', 'fer2013')])\n"
        "print(recognizer.revision)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "crops.npy", tmp_path / "theirs.npy"],
        capture_output=True, text=True, env={**os.environ, "HF_HOME": str(tmp_path / "fresh")},
    )  # fmt: skip
    assert done.stdout.split() == [hub.repos[REPO].refs["main"]], done.stderr
    theirs, ours = np.load(tmp_path / "theirs.npy"), EmotionClassifier(read(out / "checkpoint"))
    assert np.array_equal(theirs, [ours.predict(crops, head=head) for head in ("served", "fer2013")])
    assert np.ptp(theirs, axis=1).max() > 0.01  # it does look at the crops


def test_hub_datasets_are_pinned(hub: HubServer, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

    from deepfer.face import LABELS
    from training.exceptions import DataError

    labels = ClassLabel(names=["happiness", "sadness", "anger", "disgust", "fear", "neutral", "surprise"])
    features = Features({"image": Image(), "label": labels, "note": Value("string")})

    def table(count: int, seed: int) -> Dataset:
        split = synthetic_split(count, seed)
        named = {"happy": "happiness", "sad": "sadness", "angry": "anger"}
        rows = [
            {"image": image, "label": labels.str2int(named.get(LABELS[label], LABELS[label])), "note": "drawn"}
            for image, label in zip(split.images, split.labels, strict=True)
        ]
        return Dataset.from_list([{**row, "image": _png(row["image"])} for row in rows], features=features)

    DatasetDict({"train": table(70, 0), "validation": table(21, 1)}).push_to_hub("user/drawn")
    first = hub.repos["datasets/user/drawn"].refs["main"]
    DatasetDict({"train": table(7, 5), "validation": table(7, 6)}).push_to_hub("user/drawn")
    assert hub.repos["datasets/user/drawn"].refs["main"] != first

    splits = load(f"user/drawn@{first}")
    assert {name: len(split) for name, split in splits.items()} == {"train": 70, "validation": 21}
    assert np.array_equal(splits["train"].images, synthetic_split(70, 0).images)
    assert np.array_equal(splits["train"].labels, synthetic_split(70, 0).labels)
    assert len(load("user/drawn")["train"]) == 7
    for missing in ("user/nothing", "user/drawn@v9"):
        with pytest.raises(DataError, match="cannot load the dataset"):
            load(missing)


def _png(image: np.ndarray) -> dict[str, Any]:
    import cv2

    return {"bytes": cv2.imencode(".png", image)[1].tobytes(), "path": None}
