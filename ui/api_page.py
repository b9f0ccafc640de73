"""ApiPage: the programs on Gradio's page "Use via API", which send our own examples.

Gradio's own examples are a bus and a globe on GitHub, and its curl program works in zsh alone.
"""

import os
from typing import Any

import gradio.routes
from gradio.components import Component
from gradio_client import snippet  # type: ignore[import-untyped]

# Gradio replaces this by the page's address in its programs for the command line, and `_snippets` in the others. On a
# Space, Gradio would write the name of the Space.
ROOT = "{space_id}"


def set_example(component: Component, path: str) -> None:
    """Make a file that the page serves, such as "/examples/astronaut.jpg", the example for an endpoint's argument."""
    host = os.environ.get("SPACE_HOST", "").partition(",")[0]
    root = f"https://{host}" if host else ROOT
    record = {"path": root + path, "url": root + path, "meta": {"_type": "gradio.FileData"}}
    component.example_payload = lambda: record  # type: ignore[method-assign]


def set_api_page() -> None:
    """Make Gradio show our programs."""
    gradio.routes.generate_code_snippets = _snippets  # Gradio has no setting for it


def _snippets(name: str, endpoint: dict[str, Any], root: str, **options: Any) -> dict[str, str]:
    """The programs for one endpoint; a replacement for Gradio's `generate_code_snippets`.

    Args:
        name: Its name, with a slash.
        endpoint: Gradio's description of it, with an example for each parameter.
        root: The page's address.
        options: What else Gradio's function takes.
    """
    root = root.rstrip("/")
    (parameter,) = endpoint["parameters"]  # each endpoint takes one file
    example = parameter["example_input"]["url"].replace(ROOT, root)
    parameter["example_input"] |= {"path": example, "url": example}
    file = example.rpartition("/")[2]
    record = f'{{"{parameter["parameter_name"]}": {{"path": "\'"$FILE"\'", "meta": {{"_type": "gradio.FileData"}}}}}}'
    bash = f"""\
curl -s -O {example}
FILE=$(curl -s {root}/gradio_api/upload -F files=@{file} | tr -d '[]"')
EVENT=$(curl -s {root}/gradio_api/call/v2{name} -H "Content-Type: application/json" \\
  -d '{record}' | cut -d '"' -f 4)
curl -s -N {root}/gradio_api/call{name}/$EVENT"""
    return snippet.generate_code_snippets(name, endpoint, root, **options) | {"bash": bash}
