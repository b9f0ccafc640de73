"""Which folder may import which: tests -> benchmarks -> training -> deepfer, and app -> ui -> deepfer."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "deepfer": set(),
    "training": {"deepfer"},
    "ui": {"deepfer"},
    "app": {"deepfer", "ui"},
    "benchmarks": {"deepfer", "training", "ui"},  # they measure the page, too
    "tests": {"deepfer", "training", "ui", "app", "benchmarks"},
}


def imported(source: str) -> Iterator[str]:
    """The top-level names that a module imports anywhere: inside functions, and as `importlib.import_module("…")`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).split(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(arg.value).split(".")[0] for arg in node.args if isinstance(arg, ast.Constant))


def sources(folder: str) -> list[Path]:
    if folder == "app":
        return [ROOT / "app.py"]
    installed = ROOT / "benchmarks" / "environments"  # other libraries
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if not path.is_relative_to(installed)]


def test_imports_point_downward() -> None:
    wrong = []
    for folder, allowed in MAY_IMPORT.items():
        paths = sources(folder)
        assert paths, folder
        for path in paths:
            name = path.relative_to(ROOT).as_posix()
            ours = set(imported(path.read_text(encoding="utf-8"))) & set(MAY_IMPORT)
            upward = ours - allowed - {folder}
            wrong += [f"{name} imports {other}" for other in sorted(upward)]
    assert wrong == []


def test_lazy_and_dynamic_imports_are_seen() -> None:
    source = (
        "import os\n"
        "def f():\n    from benchmarks.video import markdown\n    import ui.server as server\n"
        "    importlib.import_module('training.train')\n    from .here import x\n"
    )
    assert set(imported(source)) == {"os", "benchmarks", "ui", "training"}
