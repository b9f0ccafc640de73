"""Scripts: the JavaScript modules of a tab as one script, since Gradio runs `js_on_load` as the body of a function."""

import re
from collections.abc import Iterable
from pathlib import Path

TRANSLATE = Path(__file__).parent / "languages" / "translate.js"


def bundle(paths: Iterable[Path], start: str) -> str:
    """The code that translates, the modules without their imports and exports, and a line that starts them."""
    modules = [path.read_text(encoding="utf-8") for path in (TRANSLATE, *sorted(paths))]
    code = re.sub(r"^(import .*\n|export )", "", "\n".join(modules), flags=re.MULTILINE)
    return f"{code}\n{start}"
