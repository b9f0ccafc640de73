"""Makes an environment for each library from `benchmarks/requirements/NAME.txt`, and keeps it until that changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parents[1] / "requirements"


class CannotInstallError(Exception):
    """An environment cannot be made; the message says why."""


def interpreter(name: str, folder: Path) -> Path:
    """The Python of an environment in `folder`. The environment is made if it is missing or its requirements changed.

    Raises:
        CannotInstallError: pip cannot install what is required.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    home = folder.resolve() / name
    python, stamp = home / "bin" / "python", home / requirements.name
    text = requirements.read_text()
    if stamp.exists() and stamp.read_text() == text and "\n.\n" not in f"\n{text}":  # "." is this checkout: it changes
        return python
    print(f"installing {name}", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
    for command in ([sys.executable, "-m", "venv", home], install):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            told = [line for line in lines if line.startswith("ERROR")] or lines or [f"status {done.returncode}"]
            raise CannotInstallError(f"cannot be installed: {told[-1]}")
    stamp.write_text(text)
    return python


def installed_mb(python: Path) -> float:
    """Size of all packages in an environment, without pip and compiled bytecode."""
    (packages,) = python.parents[1].glob("lib/python*/site-packages")
    files = [path for path in packages.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    own = [path for path in files if not path.relative_to(packages).parts[0].startswith("pip")]
    return sum(path.stat().st_size for path in own) / 1e6


def version(python: Path, package: str) -> str:
    """The version of a package in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.strip()
