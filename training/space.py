"""Space: the page -> a Space on the Hugging Face Hub; one commit with what it needs there and nothing else.

python -m training.space --repo user/name [--private] [--pr]
python -m training.space --repo user/name --dry-run      # show README and files, send nothing
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

from training.errors import PublishError
from training.publish import CARD, Files, parser, publish

ROOT = Path(__file__).parents[1]
REQUIREMENTS = "requirements.txt"
SINGLE = ("app.py", REQUIREMENTS, CARD, "LICENSE")
FOLDERS = ("ui/", "deepfer/")  # whole; and what goes from the Space where the checkout has it no more
MADE = ("__pycache__", ".DS_Store", ".ipynb_checkpoints")  # what programs leave behind in them
PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?:)([^)]+)\)")

# https://huggingface.co/docs/hub/spaces-config-reference
KEYS = (
    "title", "emoji", "colorFrom", "colorTo", "sdk", "python_version", "sdk_version", "suggested_hardware",
    "suggested_storage", "app_file", "app_build_command", "app_port", "base_path", "fullWidth", "header",
    "short_description", "models", "datasets", "tags", "thumbnail", "pinned", "hf_oauth", "hf_oauth_scopes",
    "hf_oauth_expiration_minutes", "hf_oauth_authorized_org", "disable_embedding", "startup_duration_timeout",
    "custom_headers", "preload_from_hub", "license",
)  # fmt: skip
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
MAX_DESCRIPTION = 60  # characters
FREE = "cpu-basic"


def front_matter(readme: str) -> dict[str, Any]:
    """The YAML header of a README.

    Raises:
        PublishError: There is none, or it cannot be read.
    """
    found = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    try:
        header = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise PublishError(f"the header of {CARD} is no YAML: {told}") from error
    if not isinstance(header, dict):
        raise PublishError(f"{CARD} does not begin with a YAML header between two lines of ---")
    return header


def faults(header: Mapping[str, Any], requirements: str, files: Files) -> list[str]:
    """What a Space would not accept, or would not do as it should, each in a line."""
    found = [f"a Space knows no {key!r}" for key in sorted(set(header) - set(KEYS))]

    def demand(key: str, right: bool, what: str) -> None:
        if not right:
            found.append(f"{key}: {header.get(key)!r} {what}")

    for key in ("title", "emoji", "license"):
        demand(key, bool(header.get(key)), "is missing")
    for key in ("colorFrom", "colorTo"):
        demand(key, header.get(key) in COLOURS, f"is none of {', '.join(COLOURS)}")
    demand("sdk", header.get("sdk") == "gradio", "should be gradio")
    demand("app_file", header.get("app_file") in files, "is none of the files")
    description = header.get("short_description")
    demand("short_description", isinstance(description, str), "should be a text")
    demand("short_description", len(str(description)) <= MAX_DESCRIPTION, f"has over {MAX_DESCRIPTION} characters")
    python = header.get("python_version")
    demand("python_version", python in ("3.11", "3.12"), 'should be the text "3.11" or "3.12"')
    demand("suggested_hardware", header.get("suggested_hardware") == FREE, f"is not the free {FREE}")
    lines = (line.split("#")[0].strip() for line in requirements.splitlines())
    wanted = {each.name: each for each in map(Requirement, filter(None, lines))}
    # The Space installs this very version after the requirements: it should be what they gave here, and was tried.
    demand(
        "sdk_version", header.get("sdk_version") == version("gradio"), f"is not the gradio here, {version('gradio')}"
    )
    demand(
        "sdk_version",
        "gradio" in wanted and wanted["gradio"].specifier.contains(str(header.get("sdk_version"))),
        f"is not what {REQUIREMENTS} asks for",
    )
    return found


def space_files() -> dict[str, bytes]:
    """What a Space holds, by path: the page, its package with the embedded models, and what the README shows.

    Raises:
        PublishError: The README's header is not what a Space takes; every fault is named.
    """
    paths = [Path(name) for name in SINGLE]
    for folder in FOLDERS:
        paths += [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()]
    readme = (ROOT / CARD).read_text(encoding="utf-8")
    paths += [Path(name) for name in PICTURE.findall(readme)]
    kept = sorted({path.as_posix() for path in paths if not set(path.parts) & set(MADE)})
    files = {name: (ROOT / name).read_bytes() for name in kept}
    if wrong := faults(front_matter(readme), files[REQUIREMENTS].decode(), files):
        raise PublishError(f"the header of {CARD} will not do: {'; '.join(wrong)}")
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Publish the page from the command line."""
    arguments = parser("python -m training.space", __doc__, ()).parse_args(argv)
    try:
        return publish(
            arguments, space_files(), "Its settings take DEEPFER_MODEL and DEEPFER_REVISION as variables.",
            message="DeepFER's page", kind="space", stale=FOLDERS,
        )  # fmt: skip
    except (PublishError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
