"""Document: the HTML page that Gradio serves, with our own head and the files that the head refers to.

Search engines and link previews run no scripts, so what Gradio adds in the browser (`head=`) is too late for them.
"""

import re
from collections.abc import Callable
from pathlib import Path

import gradio.routes
from gradio.routes import App
from jinja2 import BaseLoader, Environment
from starlette.responses import FileResponse
from starlette.routing import Route

from ui.addresses import EXAMPLES
from ui.components import render

PUBLIC = Path(__file__).parent / "public"
ICON = PUBLIC / "icon-192.png"
# What our head replaces: Gradio's link preview, twice, and its manifest at an absolute path.
REPLACED = re.compile(r'\s*<(meta\s+(property="og:|name="twitter:)|link\s+rel="manifest")[^>]*>')
START = '<meta charset="utf-8" />'


class _Loader(BaseLoader):
    """Loads Gradio's templates with another head."""

    def __init__(self, gradios: BaseLoader, head: str) -> None:
        self._gradios = gradios
        self._head = head

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, filename, uptodate = self._gradios.get_source(environment, template)
        return REPLACED.sub("", source).replace(START, f"{START}\n{self._head}", 1), filename, uptodate


def set_head(title: str, description: str) -> None:
    """Make Gradio serve its page with our head."""
    environment = gradio.routes.templates.env
    assert environment.loader
    environment.loader = _Loader(environment.loader, render("head.html", title=title, description=description))


def add_public_files(app: App) -> None:
    """Serve the files of `ui/public` and the API page's examples, before Gradio's routes. `ROUTES` lists them, too."""
    files = {f"/{path.name}": path for path in sorted(PUBLIC.iterdir())} | EXAMPLES
    app.router.routes[:0] = [Route(name, _endpoint(path)) for name, path in files.items()]


def _endpoint(path: Path) -> Callable[[object], FileResponse]:
    return lambda request: FileResponse(path)
