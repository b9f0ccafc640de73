"""McpServer: lets AI assistants send photos, by the Model Context Protocol. It runs if the extra `mcp` is installed.

It takes the place of Gradio's own MCP server, which would offer every endpoint, fetch any URL, write files that count
towards no limit, and answer in Python's notation instead of JSON. Its one tool calls the endpoint `/recognize_image`,
as other programs do: all photos wait in one queue.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio.mcp
import httpx
from gradio.blocks import Blocks
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deepfer import DeepFERError, __version__
from ui.addresses import own_path
from ui.limits import MAX_BODY_BYTES
from ui.uploads import delete, is_stored, store

try:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
except ImportError:
    MCP_INSTALLED = False
else:
    MCP_INSTALLED = True

PATH = "/gradio_api/mcp"
JSON = "application/json"
# As in `ROUTES`. The API page reads the schema. Clients may try GET, which answers 405, as the protocol demands.
MCP_ROUTES: dict[str, dict[str, str | None]] = {
    PATH: {"POST": JSON, "GET": None},
    f"{PATH}/": {"POST": JSON, "GET": None},
    f"{PATH}/schema": {"GET": None},
}
ENDPOINT = "/gradio_api/call/recognize_image"
FORWARDED = ("host", "x-forwarded-host", "x-forwarded-proto")  # from these, Gradio makes the URL of its answer
MAX_DATA_KB = MAX_BODY_BYTES * 7 // 10_000  # base64 takes four bytes for three, and the message around it a few more

INSTRUCTIONS = (
    "DeepFER finds the faces in a photo and estimates which of seven emotions each facial expression shows. It labels "
    "expressions as strangers would; it does not know what a person feels, and it does not identify people. Do not use "
    "it to judge, hire, grade, police or diagnose anyone."
)
DESCRIPTION = """\
Find every face in a photo and estimate which of seven emotions its expression shows.

Returns JSON: width and height of the photo in pixels; faces, largest first; and annotated_url, the photo with the faces
marked, for the user to open (deleted after about an hour). If faces is empty, no face was found: suggest a sharper
photo with faces at least 30 pixels wide.

Each face has:
- box: [x1, y1, x2, y2] in pixels, from the top left corner.
- emotion: the most likely of angry, disgust, fear, happy, neutral, sad, surprise. "neutral" is an expression that shows
  none of the other six.
- confidence: the probability of that emotion, 0 to 1. It is calibrated: of all faces with 0.7, most
  people would choose the same emotion for about 70%.
- unclear: true if no emotion stands out (confidence below 0.5, or less than 0.15 ahead of the next). Then
  name the two most likely emotions instead of one.
- probabilities: one for each of the seven emotions; they add up to 1.

What it is not: it describes how strangers would label an expression, not what the person feels, thinks or intends. Say
"looks happy", not "is happy". It does not identify people or estimate their age, sex or health. Do not use it to judge,
hire, grade, police or diagnose anyone."""
IMAGE = f"""\
The photo (JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF), in one of three forms:
1. The path or URL of a photo uploaded to this server. To upload a file, use the tool upload_file_to_gradio if there is
   one. With a shell, run `curl -F files=@photo.jpg SERVER/gradio_api/upload`, which prints ["PATH"], and send PATH.
   SERVER is the address of this MCP server without /gradio_api/mcp.
2. A data URL, data:image/jpeg;base64,..., of a photo of at most {MAX_DATA_KB} KB.
3. To try the tool: SERVER/examples/astronaut.jpg, this server's own example.
The server reads no other URL, and no path on the user's computer. Save such a photo to a file and upload it."""
SCHEMA = {
    "type": "object",
    "properties": {"image": {"type": "string", "description": IMAGE}},
    "required": ["image"],
    "additionalProperties": False,
}
TOOL = "recognize_image"


class McpServer:
    """The MCP server, with the attributes that Gradio expects of its own.

    Args:
        blocks: The page.
    """

    _local_url: str | None = None  # Gradio sets it

    def __init__(self, blocks: Blocks) -> None:
        server: Server = Server(str(blocks.title), version=__version__, instructions=INSTRUCTIONS)
        server.list_tools()(self._tools)
        server.call_tool()(self._call)
        self._server = server
        # Each request stands alone, so that nothing is kept between them.
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Run the server as long as the page."""
        async with self._manager.run():
            yield

    def launch_mcp_on_sse(self, app: Starlette, subpath: str, root_path: str) -> None:
        """Add the routes of `MCP_ROUTES`. Gradio's name for it is of the days when it had only another transport."""
        self._app = app
        schema = Route(f"{PATH}/schema", self._schema)
        app.router.routes += [*(Route(path, self) for path in (PATH, f"{PATH}/")), schema]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request to the server: ASGI."""
        if scope["method"] != "POST":  # a stream of messages without a request, of which there are none
            response = JSONResponse(
                {"detail": "This is an MCP server. Add its address to your AI assistant; a browser cannot open it."},
                405,
                {"Allow": "POST"},
            )
            await response(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)

    async def _tools(self) -> list[types.Tool]:
        hints = types.ToolAnnotations(readOnlyHint=True, idempotentHint=True, openWorldHint=False)
        title = "Estimate the emotions in a photo"
        return [types.Tool(name=TOOL, title=title, description=DESCRIPTION, inputSchema=SCHEMA, annotations=hints)]

    async def _schema(self, request: Request) -> JSONResponse:
        """The tool, as Gradio's API page reads it."""
        meta = {"file_data_present": True, "mcp_type": "tool", "endpoint_name": TOOL}
        return JSONResponse([{"name": TOOL, "description": DESCRIPTION, "inputSchema": SCHEMA, "meta": meta}])

    async def _call(self, name: str, arguments: dict[str, Any]) -> tuple[list[types.TextContent], dict[str, Any]]:
        """Run the tool. The message of an exception is its answer."""
        if name != TOOL:
            raise DeepFERError(f"There is no tool {name[:80]!r}. The only one is {TOOL}.")
        request = self._server.request_context.request
        assert request is not None
        headers = dict(request.headers)
        image = arguments["image"]
        if not image.startswith("data:"):
            result = await self._recognize(own_path(image, headers), headers)
        else:
            path = store(_decode(image), "photo")
            try:
                result = await self._recognize(path, headers)
            finally:
                delete({"path": path})
        return [types.TextContent(type="text", text=json.dumps(result))], result

    async def _recognize(self, path: str, headers: dict[str, str]) -> dict[str, Any]:
        """Send a stored photo to the endpoint.

        Raises:
            DeepFERError: It is not stored, or cannot be read; or the queue is full.
        """
        if not is_stored(path):
            raise DeepFERError("Upload the photo first, or send it as a data URL. No other path or URL is read.")
        data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        kept = {name: headers[name] for name in FORWARDED if name in headers}
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://page", headers=kept, timeout=None) as client:
            joined = await client.post(ENDPOINT, json=data)
            if joined.is_error:
                raise DeepFERError(str(joined.json().get("detail", "The server is busy. Try again later.")))
            stream = (await client.get(f"{ENDPOINT}/{joined.json()['event_id']}")).text
        event, _, value = stream.strip().rpartition("\n\n")[2].partition("\ndata: ")
        answer = json.loads(value)
        if event != "event: complete":
            raise DeepFERError(answer["error"] if isinstance(answer, dict) else "The photo could not be processed.")
        annotated, found = answer
        faces = [_brief(face) for face in found["faces"]]
        return {"width": found["width"], "height": found["height"], "faces": faces, "annotated_url": annotated["url"]}


def set_mcp_server() -> None:
    """Make Gradio run `McpServer` as its MCP server, and keep malformed messages out of the log."""
    gradio.mcp.GradioMCPServer = McpServer  # type: ignore[misc, assignment]  # Gradio has no setting for it
    # The library logs all that it cannot read; some of it through the root logger.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(lambda record: "mcp" not in Path(record.pathname).parts)


def _decode(address: str) -> bytes:
    """The content of a data URL.

    Raises:
        DeepFERError: It is not base64.
    """
    head, _, content = address.partition(",")
    try:
        if head.endswith(";base64"):
            return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise DeepFERError("This is not a complete data URL: it must be data:image/jpeg;base64, and the photo in base64.")


def _brief(face: dict[str, Any]) -> dict[str, Any]:
    """What an assistant needs of a face, with few digits: each costs it a token."""
    return {
        "box": face["box"],
        "emotion": face["emotion"],
        "confidence": round(face["confidence"], 3),
        "unclear": face["unclear"],
        "probabilities": {label: round(value, 3) for label, value in face["probabilities"].items()},
    }
