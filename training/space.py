"""Publish the page as a Space on the Hugging Face Hub, in one commit with only the files it needs.

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
from huggingface_hub import HfApi

from training.exceptions import PublishError
from training.hub.command_line import parser, publish
from training.hub.push import CARD, Files, Target

ROOT = Path(__file__).parents[1]
SINGLE = ("app.py", "requirements.txt", CARD, "LICENSE")
FOLDERS = ("ui/", "deepfer/")  # published whole; files that are no longer in the checkout are deleted from the Space
GENERATED = ("__pycache__", ".DS_Store", ".ipynb_checkpoints")
THUMBNAIL = "ui/public/thumbnail.png"  # what a link to the Space shows
IMAGE = re.compile(r"!\[[^\]]*\]\((?!https?:)([^)]+)\)")
USAGE = "To serve another model, set the variables DEEPFER_MODEL and DEEPFER_REVISION in its settings."


def front_matter(readme: str) -> dict[str, Any]:
    """Parse the YAML header of a README.

    Raises:
        PublishError: There is no header, or it is not valid YAML.
    """
    found = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    try:
        header = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        raise PublishError(f"the header of {CARD} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(header, dict):
        raise PublishError(f"{CARD} does not begin with a YAML header between two lines of ---")
    return header


def faults(header: Mapping[str, Any], files: Files) -> list[str]:
    """List what is wrong with a header that the Hub would accept."""
    found = []
    if header.get("sdk") != "gradio":
        found.append(f"sdk: {header.get('sdk')!r} should be gradio")
    # A Space installs this version after the requirements, so it must be the one that was tested here.
    if header.get("sdk_version") != version("gradio"):
        found.append(f"sdk_version: {header.get('sdk_version')!r} is not the installed gradio, {version('gradio')}")
    if header.get("app_file") not in files:
        found.append(f"app_file: {header.get('app_file')!r} is not one of the files")
    return found


def with_thumbnail(readme: str, repo: str) -> str:
    """Add the address of the thumbnail in the Space to a README's header; the Hub needs a full address."""
    address = f"{HfApi().endpoint}/spaces/{repo}/resolve/main/{THUMBNAIL}"
    return readme.replace("---\n", f"---\nthumbnail: {address}\n", 1)


def space_files(repo: str) -> dict[str, bytes]:
    """Collect the files of a Space, by path: the page, the package with the embedded models, and the README's images.

    Args:
        repo: "user/name", where the Space will be.

    Raises:
        PublishError: The README's header does not fit a Space; the message lists every fault.
    """
    paths = [Path(name) for name in SINGLE]
    for folder in FOLDERS:
        paths += [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()]
    readme = (ROOT / CARD).read_text(encoding="utf-8")
    paths += [Path(name) for name in IMAGE.findall(readme)]
    names = sorted({path.as_posix() for path in paths if not set(path.parts) & set(GENERATED)})
    files = {name: (ROOT / name).read_bytes() for name in names}
    if wrong := faults(front_matter(readme), files):
        raise PublishError(f"the header of {CARD} does not fit a Space: {'; '.join(wrong)}")
    return files | {CARD: with_thumbnail(readme, repo).encode()}


def main(argv: Sequence[str] | None = None) -> int:
    """Publish the page from the command line."""
    args = parser("python -m training.space", __doc__).parse_args(argv)
    try:
        publish(args, space_files(args.repo), "DeepFER's page", Target(args.repo, kind="space", stale=FOLDERS), USAGE)
    except (PublishError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
