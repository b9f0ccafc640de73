"""Hooks of the site: add the model cards, and point links that leave `docs/` to the cards or to the repository."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
CARDS = {path.parent.name: path for path in sorted((ROOT / "deepfer" / "checkpoints").glob("*/README.md"))}
OUTSIDE = re.compile(r"\]\(\.\./([^)]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add `models/NAME/index.md` and its plots for each embedded model."""
    for name, card in CARDS.items():
        files.append(File.generated(config, f"models/{name}/index.md", abs_src_path=str(card)))
        for plot in card.parent.glob("plots/*"):
            files.append(File.generated(config, f"models/{name}/plots/{plot.name}", abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Rewrite `](../path)`, which is right in the repository, for the site."""

    def target(link: re.Match[str]) -> str:
        path = Path(link[1])
        if ROOT / path in CARDS.values():
            return f"](models/{path.parent.name}/index.md)"
        return f"]({config.extra['repository']}/blob/main/{path})"

    return OUTSIDE.sub(target, markdown)
