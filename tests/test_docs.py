"""The README and the docs: their commands run, their links work, and their words are plain."""

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from benchmarks.example import example

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = [*PAGES, ROOT / "training" / "report" / "model_card.md", ROOT / "CHANGELOG.md"]
ids = {"ids": lambda path: path.name}

# Words that we do not use, with what we write instead.
BANNED = {
    r"\bclips?\b": "video",
    r"\bpictures?\b": "image, or photo",
    r"\blest\b": "so that … not",
    r"\b(is|are) told\b": "says, raises",
    r"\bin a line\b": "in one error message",
    r"\bthat (is|are) none\b": "say what it is",
    r"\bwhat is (seen|said|asked|found)\b": "name it",
    r"\bone's own\b": "your own",
    r"\b\d[\d.]* %": "83%, without a space",
    r"\bwhoever wants\b": "to …",
}
TESTED = {"pip install ."}  # in test_package


def commands(page: Path) -> list[str]:
    """The commands of a page's `console` blocks, without comments."""
    text = re.sub(r" \\\n\s+", " ", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line[2:].split("  #")[0].strip() for line in lines if line.startswith("$ ")]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_examples_print_what_it_shows() -> None:
    recorded = json.loads((ROOT / "docs" / "example.json").read_text())
    assert example() == recorded
    assert recorded["said"] in (ROOT / "README.md").read_text(encoding="utf-8")


@cache
def help_of(*arguments: str) -> str:
    """A program's help."""
    done = subprocess.run([sys.executable, *arguments, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, **ids)
def test_every_command_exists(page: Path) -> None:
    for command in commands(page):
        if command in TESTED:
            continue
        program, *arguments = shlex.split(command)
        if program == "make":  # prints what it would run
            done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stderr)
            continue
        if program.endswith("python"):
            where = 2 if arguments[0] == "-m" else 1
            if arguments[1] == "training.detector":
                where += 1  # its stages have options of their own
        else:
            assert program == "deepfer", command
            arguments, where = ["-m", *shlex.split(command)], 2
        usage = help_of(*arguments[:where])
        for option in arguments[where:]:
            assert not option.startswith("--") or option in usage, (command, option)


@pytest.mark.parametrize("page", PAGES, **ids)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not re.match(r"https?:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", WORDS, **ids)
def test_words_are_plain(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for pattern, instead in BANNED.items():
        found = re.search(pattern, prose, re.IGNORECASE)
        assert not found, f"{found[0]!r} near {prose[max(0, found.start() - 40) : found.end() + 20]!r}: write {instead}"
