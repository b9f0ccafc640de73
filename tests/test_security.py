"""The threat model names real tests and states the real limits."""

import re
from pathlib import Path

import ui.limits
from deepfer import limits

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
LIMITS = {name: value for name, value in (vars(limits) | vars(ui.limits)).items() if name.isupper()}


def test_every_test_that_it_names_exists() -> None:
    there = {
        name
        for path in (ROOT / "tests").glob("*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 40
    assert named <= there, named - there


def test_its_table_is_of_the_limits() -> None:
    table = dict(re.findall(r"^\| `([A-Z]\w+)` \| ([\d.,]+) \|$", TEXT, re.M))
    assert table == {name: f"{value:,}" for name, value in LIMITS.items()}


def test_every_limit_bounds_something() -> None:
    before_the_table = TEXT[: TEXT.index("## Limits")]
    assert set(re.findall(r"`((?:[A-Z0-9]+_)+[A-Z]+)`", before_the_table)) == set(LIMITS)
