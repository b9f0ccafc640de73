"""Document: the HTML page that Gradio serves, with our own head, in the visitor's language.

Search engines and link previews run no scripts, so what Gradio adds in the browser (`head=`) is too late for them.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio.routes
from gradio.routes import App
from jinja2 import BaseLoader, Environment, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.responses import FileResponse
from starlette.routing import Route

from ui.addresses import EXAMPLES
from ui.components import render
from ui.language import LANGUAGES, in_language, of_request, script_messages, speaking, spoken

PUBLIC = Path(__file__).parent / "public"
ICON = PUBLIC / "icon-192.png"
# What our head replaces: Gradio's link preview, twice, and its manifest at an absolute path.
REPLACED = re.compile(r'\s*<(meta\s+(property="og:|name="twitter:)|link\s+rel="manifest")[^>]*>')
CHANGES = {
    '<meta charset="utf-8" />': '<meta charset="utf-8" />\n{{ deepfer_head() }}',
    'lang="en"': 'lang="{{ deepfer_language() }}"',
    "{{ config | toorjson }}": "{{ config | deepfer_translated | toorjson }}",
}


class _Loader(BaseLoader):
    """Loads Gradio's templates with another head, and with texts in the visitor's language."""

    def __init__(self, gradios: BaseLoader) -> None:
        self._gradios = gradios

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, filename, uptodate = self._gradios.get_source(environment, template)
        source = REPLACED.sub("", source)
        for old, new in CHANGES.items():
            source = source.replace(old, new, 1)
        return source, filename, uptodate


def set_head(title: str, description: str) -> None:
    """Make Gradio serve its page with our head.

    Args:
        title: The page's name.
        description: A `static` text.
    """

    @pass_context
    def head(context: Context) -> Markup:
        with speaking(of_request(context["request"])):
            return Markup(
                render(
                    "head.html",
                    title=title,
                    description=in_language(description),
                    root=context["config"]["root"],
                    languages=LANGUAGES,
                    script={"language": spoken(), "messages": script_messages()},
                )
            )

    @pass_context
    def language(context: Context) -> str:
        return of_request(context["request"])

    @pass_context
    def translated(context: Context, config: Any) -> Any:
        with speaking(of_request(context["request"])):
            return in_language(config)

    environment = gradio.routes.templates.env
    assert environment.loader
    environment.loader = _Loader(environment.loader)
    environment.globals |= {"deepfer_head": head, "deepfer_language": language}
    environment.filters["deepfer_translated"] = translated


def add_public_files(app: App) -> None:
    """Serve the files of `ui/public` and the API page's examples, before Gradio's routes. `ROUTES` lists them, too."""
    files = {f"/{path.name}": path for path in sorted(PUBLIC.iterdir())} | EXAMPLES
    app.router.routes[:0] = [Route(name, _endpoint(path)) for name, path in files.items()]


def _endpoint(path: Path) -> Callable[[object], FileResponse]:
    return lambda request: FileResponse(path)
