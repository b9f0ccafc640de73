"""The arrows of CONTRIBUTING.md: which folder may import which, and no circle between modules."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = {path.stem for path in (ROOT / "tests").glob("*.py")}
MAY_IMPORT = {
    "deepfer": set[str](),
    "ui": {"deepfer"},
    "app": {"ui", "deepfer"},
    "training": {"deepfer"},
    "benchmarks": {"training", "ui", "deepfer"},
}
FILES = [path for folder in MAY_IMPORT for path in (*ROOT.glob(f"{folder}.py"), *(ROOT / folder).rglob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


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


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_follow_the_arrows(folder: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[folder] - {folder} | TESTS
    wrong = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        if name.split(".")[0] == folder
        for other in imported(path)
        if other.split(".")[0] in forbidden
    ]
    assert not wrong


def test_no_modules_import_each_other() -> None:
    graph = {name: {other for other in imported(path) if other in MODULES} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' imports '.join(reversed(error.args[1]))}")
