"""Scripts: the JavaScript modules of a tab as one script, since Gradio runs `js_on_load` as the body of a function."""

import re
from pathlib import Path


def bundle(folder: Path, start: str) -> str:
    """The modules of a folder without their imports and exports, and a line that starts them."""
    modules = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.js"))]
    code = re.sub(r"^(import .*\n|export )", "", "\n".join(modules), flags=re.MULTILINE)
    return f"{code}\n{start}"
