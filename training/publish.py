"""Publish: a checkpoint folder -> a model repo on the Hugging Face Hub, with its card; one commit, tagged.

    python -m training.publish --checkpoint FOLDER --repo user/name [--private] [--pr] [--keras FILE] [--tag v1.0.0]
    python -m training.publish --checkpoint FOLDER --repo user/name --dry-run     # show card and files, send nothing

Nothing is sent before the folder has been checked, and what is sent becomes visible in one step, or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from httpx2 import HTTPError
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    EvalResult,
    HfApi,
    ModelCard,
    ModelCardData,
    RepoCard,
    get_token,
)
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from deepfer import __version__
from deepfer.checkpoint import CONFIG, METRICS, MODEL, encode_config, read, read_config, read_metrics, sha256
from deepfer.classifier import EmotionClassifier
from deepfer.errors import CheckpointError
from deepfer.hub import HUB_ID
from deepfer.hub_errors import LOGIN, explain
from deepfer.limits import HUB_TIMEOUT_S
from training import results

CARD = "README.md"
KERAS = "model.keras"
STALE = ("plots/", KERAS)  # what goes from the repo where the folder has it no more
TASK = "image-classification"

Files = Mapping[str, bytes]


class PublishError(Exception):
    """It is not published, and in one line why not."""


def check(folder: Path) -> dict[str, Any]:
    """Check that a folder is whole and measured, and give its metrics.

    Raises:
        CheckpointError: It is no checkpoint that can be served, or its figures are not there or of another model file.
        PublishError: It passed no gate, or its figures are not all there.
    """
    EmotionClassifier(read(folder))
    config = read_config(folder)
    gate = config.get("gate")
    if not (isinstance(gate, dict) and "label_agreement" in gate):
        raise PublishError(f"{folder / CONFIG} records no gate that the model passed: make it with training.export")
    if not config.get("recorded_labels"):
        raise PublishError(f"{folder / CONFIG} records no labels to be checked by: give training.export a --dataset")
    metrics = read_metrics(folder)
    splits = metrics.get("splits")
    if not isinstance(splits, dict):
        raise PublishError(f"{folder / METRICS} is not what training.evaluate writes: no splits in it")
    if "validation" not in splits:
        raise PublishError(f"{folder / METRICS} lacks the validation split: measure it with training.evaluate")
    return metrics


def eval_results(metrics: Mapping[str, Any]) -> list[EvalResult]:
    """The figures as the Hub's `model-index` takes them: shares, per split, labels and output."""
    found = []
    dataset, _, revision = metrics["dataset"].partition("@")
    for split, against in sorted(metrics["splits"].items()):
        fer2013 = against["fer2013"]
        measured = {"own labels": fer2013.get("head", fer2013["served"])}
        if against["ferplus"]:
            measured["FER+ majority"] = against["ferplus"]["served"]
        for labels, m in measured.items():
            for kind, name, key in (
                ("accuracy", "Accuracy", "accuracy"),
                ("f1", "Macro F1", "macro_f1"),
                ("expected_calibration_error", "Expected calibration error", "ece"),
            ):
                found.append(
                    EvalResult(
                        task_type=TASK, task_name="Facial emotion recognition",
                        dataset_type=dataset, dataset_name=f"{dataset} ({labels})", dataset_revision=revision or None,
                        dataset_config=labels, dataset_split=split,  # these two tell the results apart
                        metric_type=kind, metric_name=name, metric_value=round(m[key], 4),
                    )
                )  # fmt: skip
    return found


def model_card(folder: Path, metrics: Mapping[str, Any], repo: str) -> str:
    """The card for `repo`: its header with the results, its plots shown.

    That of a model from `training.train` is made by `training.results`. A converted file of one's own has the card that
    `training.export` began and its owner goes on with; licence and words are theirs.
    """
    if "converted" in read_config(folder):
        own = (folder / CARD).read_text(encoding="utf-8").rstrip()
        own = own.replace(f'from_pretrained("{folder.name}")', f'from_pretrained("{repo}")')
        card = ModelCard(f"{own}\n\n## Results\n\n{results.accuracy(folder)}\n\n{results.per_class(folder)}")
    else:
        card = ModelCard(results.card(folder, source=repo))
    header: dict[str, Any] = {"library_name": "litert", "tags": ["facial-emotion-recognition", "litert"]}
    header |= {"datasets": [metrics["dataset"].partition("@")[0]], "metrics": ["accuracy", "f1"]}
    header |= card.data.to_dict()
    header |= {"pipeline_tag": TASK, "model_name": repo.split("/")[1], "eval_results": eval_results(metrics)}
    card.data = ModelCardData(**header)
    unseen = [name for name in plots(folder) if name not in card.text]
    pictures = "\n".join(f"![{Path(name).stem.replace('-', ' ')}]({name})" for name in unseen)
    return str(card).rstrip() + (f"\n\n## Plots\n\n{pictures}\n" if pictures else "\n")


def plots(folder: Path) -> list[str]:
    """The pictures that `training.evaluate` made, as paths in the folder."""
    return sorted(f"plots/{path.name}" for path in (folder / "plots").glob("*.png"))


def model_files(folder: Path, repo: str, keras_file: Path | None = None) -> dict[str, bytes]:
    """What a model repo holds, by name: exactly what `deepfer` and people need, and nothing else of the folder.

    Raises:
        CheckpointError, PublishError: As `check` does.
        OSError: A file cannot be read.
    """
    metrics = check(folder)
    config = read_config(folder)
    files = {name: (folder / name).read_bytes() for name in (MODEL, METRICS, *plots(folder))}
    if keras_file:
        files[KERAS] = keras_file.read_bytes()
        if not files[KERAS].startswith(b"PK"):
            raise PublishError(f"{keras_file} is no .keras file, which is a zip archive")
        config["sha256"][KERAS] = sha256(keras_file)
    files[CONFIG] = encode_config(config)
    files[CARD] = model_card(folder, metrics, repo).encode()
    return files


@dataclass(frozen=True)
class Pushed:
    """What is on the Hub now.

    Attributes:
        url: The repo's page, or the pull request's.
        commit: What to pin.
        changed: Whether it is a new commit.
    """

    url: str
    commit: str
    changed: bool


def push(
    repo: str,
    files: Files,
    message: str,
    *,
    kind: str = "model",
    stale: tuple[str, ...] = (),
    private: bool = False,
    pull_request: bool = False,
    tag: str | None = None,
) -> Pushed:
    """Make `files` the content of a repo, which may be new, in one commit, or none where it is that already.

    Args:
        repo: "user/name".
        files: Content by path.
        message: The commit's.
        kind: "model" or "space".
        stale: How paths begin that go where `files` does not have them; others in the repo stay.
        private: Only for its owner, where it is new.
        pull_request: Propose it, and leave main as it is.
        tag: What main's commit is called, if it is no proposal.

    Raises:
        PublishError: In one line, why nothing has changed.
    """
    if get_token() is None:
        raise PublishError(f"there is no token to publish with: {LOGIN}")
    try:
        return _push(repo, files, message, kind, stale, private, pull_request, tag)
    except HFValidationError as error:
        raise PublishError(f"{repo!r} is no name of a repo: {str(error).splitlines()[0]}") from error
    except (OSError, HTTPError, JSONDecodeError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 412:
            raise PublishError(
                f"somebody else changed {repo} meanwhile, so nothing was published: look at it, and publish again"
            ) from error
        raise PublishError(explain(error, repo, kind=kind)[0]) from error
    except RuntimeError as error:  # what the client makes of a large file's failed upload
        cause = error.__cause__ if isinstance(error.__cause__, OSError | HTTPError) else OSError(str(error))
        raise PublishError(explain(cause, repo, kind=kind)[0]) from error


def _push(
    repo: str, files: Files, message: str, kind: str, stale: tuple[str, ...], private: bool, pr: bool, tag: str | None
) -> Pushed:
    api = HfApi()
    try:
        info = api.repo_info(repo, repo_type=kind, timeout=HUB_TIMEOUT_S)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        _validate(files[CARD].decode(), kind)
        api.create_repo(repo, repo_type=kind, private=private or None, space_sdk="gradio" if kind == "space" else None)
        info = api.repo_info(repo, repo_type=kind, timeout=HUB_TIMEOUT_S)
    if private and not info.private:
        raise PublishError(f"{repo} is public already: make it private on its page, or leave out --private")
    head, url = str(info.sha), f"{api.endpoint}/{'spaces/' if kind == 'space' else ''}{repo}"
    tree = api.list_repo_tree(repo, recursive=True, revision=head, repo_type=kind)
    held = {file.path: file for file in tree if isinstance(file, RepoFile)}
    changed = [name for name, content in files.items() if name not in held or not _is_same(held[name], content)]
    gone = [name for name in held if name not in files and name.startswith(stale)] if stale else []
    tags = {each.name: each.target_commit for each in api.list_repo_refs(repo, repo_type=kind).tags} if tag else {}
    commit = head
    if changed or gone:
        if tag in tags and not pr:
            raise PublishError(f"{repo} has a {tag} of another content already: name a new version with --tag")
        _validate(files[CARD].decode(), kind)
        operations = [CommitOperationAdd(name, files[name]) for name in changed]
        done = api.create_commit(
            repo, [*operations, *(CommitOperationDelete(name) for name in gone)],
            commit_message=message, repo_type=kind, create_pr=pr, parent_commit=head,
        )  # fmt: skip
        commit, url = done.oid, str(done.pr_url or url)
    if tag and tag not in tags and not pr:
        try:
            api.create_tag(repo, tag=tag, revision=commit, repo_type=kind)
        except (HfHubHTTPError, HTTPError) as error:
            told = explain(error, repo, kind=kind)[0]
            raise PublishError(f"{repo} is at {commit}, but without the tag {tag}: run this again ({told})") from error
    return Pushed(url, commit, commit != head)


def _validate(readme: str, kind: str) -> None:
    """Ask the Hub whether it accepts a README's header."""
    try:
        RepoCard(readme).validate(repo_type=kind)
    except ValueError as error:
        if isinstance(error, HTTPError | JSONDecodeError):
            raise
        try:
            told = "; ".join(fault["message"] for fault in json.loads(str(error))["errors"])
        except (ValueError, KeyError, TypeError):
            told = str(error).splitlines()[0]
        raise PublishError(f"the Hub does not accept the header of {CARD}: {told}") from error


def _is_same(held: RepoFile, content: bytes) -> bool:
    """Whether a file in a repo has this content, by its sha256, or git's name for it where it is small."""
    if held.lfs:
        return held.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return held.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listing(files: Files) -> str:
    """Names and sizes, for the eye."""
    width = max(map(len, files))
    return "\n".join(f"  {name:{width}}  {len(content) / 1000:>10,.1f} kB" for name, content in sorted(files.items()))


def publish(arguments: argparse.Namespace, files: Files, pinned: str, **how: Any) -> int:
    """Push, or show with `--dry-run`, what a command line asks for; `pinned` says how to use a commit."""
    if arguments.dry_run:
        print(f"{arguments.repo} would hold:\n{listing(files)}\n\n{CARD}:\n\n{files[CARD].decode()}")
        return 0
    pushed = push(arguments.repo, files, private=arguments.private, pull_request=arguments.pr, **how)
    print(f"{pushed.url}\n{'commit' if pushed.changed else 'nothing has changed; commit'} {pushed.commit}")
    print(pinned.format(repo=arguments.repo, commit=pushed.commit))
    return 0


def parser(
    prog: str, description: str | None, sources: Iterable[tuple[str, dict[str, Any]]]
) -> argparse.ArgumentParser:
    """The command line that model and Space share, and what else it has."""
    made = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, settings in sources:
        made.add_argument(name, **settings)
    made.add_argument("--repo", required=True, type=_repo, metavar="user/name", help="on the Hub; made where it is new")
    made.add_argument("--private", action="store_true", help="for its owner alone, where it is new")
    made.add_argument("--pr", action="store_true", help="open a pull request, and leave main as it is")
    made.add_argument("--dry-run", action="store_true", help="show what would be there, and send nothing")
    return made


def _repo(name: str) -> str:
    if not HUB_ID.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{name!r} is not of the form user/name")
    return name


def main(argv: Sequence[str] | None = None) -> int:
    """Publish a model from the command line."""
    sources: list[tuple[str, dict[str, Any]]] = [
        ("--checkpoint", {"type": Path, "required": True, "help": "a folder of training.export and training.evaluate"}),
        ("--keras", {"type": Path, "help": f"also publish this .keras file, as {KERAS}, for fine-tuning"}),
        ("--tag", {"default": f"v{__version__}", "help": "the version's name (default: %(default)s)"}),
    ]
    arguments = parser("python -m training.publish", __doc__, sources).parse_args(argv)
    try:
        files = model_files(arguments.checkpoint, arguments.repo, arguments.keras)
        pinned = 'EmotionRecognizer.from_pretrained("{repo}", revision="{commit}")'
        message = f"DeepFER {arguments.tag.removeprefix('v')}"
        return publish(arguments, files, pinned, message=message, stale=STALE, tag=arguments.tag)
    except (CheckpointError, PublishError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
