"""No circle of imports between modules, not even through a function or the tests."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = {path.stem for path in (ROOT / "tests").glob("*.py")}  # tests/ is on sys.path while they run
INSTALLED = ROOT / "benchmarks" / "environments"  # other libraries
FILES = [
    path
    for folder in ("deepfer", "ui", "training", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_relative_to(INSTALLED)
]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "app.py", *FILES)
}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too, but not for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module


GRAPH = {name: set(imported(path)) for name, path in MODULES.items()}


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter({name: others & set(MODULES) for name, others in GRAPH.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' imports '.join(reversed(error.args[1]))}")


def test_nothing_imports_the_tests() -> None:
    wrong = {name: others & TESTS for name, others in GRAPH.items() if others & TESTS}
    assert not wrong
