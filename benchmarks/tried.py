"""What the tests tried to break DeepFER with, and what was lost: a table made from their own reports.

    make test PYTEST="--junitxml=tests.xml"                                       # everything
    DEEPFER_FUZZ_S=1800 python -m pytest tests/test_fuzz.py --junitxml=fuzz.xml   # half an hour for each kind of input
    python -m benchmarks.tried tests.xml fuzz.xml

A test says what it tries by `@pytest.mark.tried(…)`, or how much of it by pytest's `record_property("tried", …)`; of
one that stands in several reports, the last counts. Writes `benchmarks/tried.json`, from which `make results` renders
the table of `SECURITY.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.speed import processor

OUT = Path(__file__).with_suffix(".json")


def read(report: Path) -> dict[str, dict[str, Any]]:
    """Each test of a JUnit report that says what it tried, by its name."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        told = [p.attrib["value"] for p in case.iter("property") if p.attrib["name"] == "tried"]
        if told:
            outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
            found[case.attrib["name"]] = {
                "tried": told[-1], "outcome": outcome, "seconds": round(float(case.attrib["time"]), 1)
            }  # fmt: skip
    return found


def markdown(result: dict[str, Any]) -> str:
    """The table of `tried.json`."""
    from training.results import table

    lost = {"passed": "nothing", "skipped": "not tried here"}
    rows = [
        (t["tried"], f"`{name}`", lost.get(t["outcome"], "it failed"), f"{t['seconds']:,.0f}")
        for name, t in result["tests"].items()
    ]
    return f"{table(('Tried', 'by', 'lost', 's'), rows)}\n\n{result['processor']}; Python {result['python']}."


def main(argv: list[str] | None = None) -> int:
    """Read and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", help="JUnit reports of the tests")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    tests: dict[str, dict[str, Any]] = {}
    for report in args.reports:
        tests |= read(report)
    result = {"processor": processor(), "python": platform.python_version(), "tests": tests}
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
