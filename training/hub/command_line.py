"""The command line that `training.publish` and `training.space` share."""

from __future__ import annotations

import argparse
from dataclasses import replace

from deepfer.hub import HUB_ID
from training.hub.push import CARD, Files, Target, push


def parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the shared options."""
    made = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--repo", required=True, type=_repo, metavar="user/name", help="created if needed")
    made.add_argument("--private", action="store_true", help="create the repo as private")
    made.add_argument("--pr", action="store_true", help="open a pull request instead of committing to main")
    made.add_argument("--dry-run", action="store_true", help="show what would be published, and send nothing")
    return made


def publish(args: argparse.Namespace, files: Files, message: str, target: Target, usage: str) -> None:
    """Push and print the result, or only list the files with `--dry-run`; `usage` shows how to use the commit.

    Raises:
        PublishError: Nothing was published.
    """
    if args.dry_run:
        print(f"{args.repo} would hold:\n{listing(files)}\n\n{CARD}:\n\n{files[CARD].decode()}")
        return
    pushed = push(replace(target, private=args.private, pull_request=args.pr), files, message)
    print(f"{pushed.url}\n{'commit' if pushed.changed else 'nothing has changed; commit'} {pushed.commit}")
    print(usage.format(repo=args.repo, commit=pushed.commit))


def listing(files: Files) -> str:
    """List names and sizes."""
    width = max(map(len, files))
    return "\n".join(f"  {name:{width}}  {len(content) / 1000:>10,.1f} kB" for name, content in sorted(files.items()))


def _repo(name: str) -> str:
    if not HUB_ID.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{name!r} does not have the form user/name")
    return name
