"""PayloadValidator: checks JSON bodies before Gradio sees them.

Gradio raises on most bodies that its own clients would not send. It then responds with 500, or with an event without a
message, and logs a traceback each time. It also downloads any URL in place of an uploaded file.
"""

from __future__ import annotations

import re
from typing import Any, TypeGuard

import gradio as gr
import orjson
from gradio.block_function import BlockFunction
from gradio.blocks import Block
from gradio.data_classes import FileData
from gradio.routes import App
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from ui.addresses import own_path
from ui.limits import MAX_PHOTOS
from ui.middleware import UPLOAD, Refused, headers_of
from ui.uploads import is_stored
from ui.usage import StorageFull

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
FILE_DATA = {"_type": "gradio.FileData"}  # marks the record of an uploaded file


class PayloadValidator:
    """ASGI middleware that refuses malformed JSON and malformed uploads with a 4xx status.

    Args:
        app: Handles the requests that pass.
        gradio: Gradio's application, which knows the page's functions and their inputs.
    """

    def __init__(self, app: Any, gradio: App) -> None:
        self._app = app
        self._gradio = gradio

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
        elif scope["deepfer.route"] == UPLOAD:
            await self._upload(scope, receive, send)
        else:
            body = await _read(receive)
            if body is not None:
                value = _parse(body)
                self._check(scope["deepfer.route"], scope["path"].rpartition("/")[2], value, headers_of(scope))
                await self._app(scope, _replay(_serialize(value), receive), send)

    async def _upload(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Let Gradio read a multipart body. Its 500 is not sent, so that the error can be answered with a 400."""
        failed = False

        async def send_unless_failed(message: dict[str, Any]) -> None:
            nonlocal failed
            failed = failed or message.get("status") == 500
            if not failed:
                await send(message)

        try:
            await self._app(scope, receive, send_unless_failed)
        except ClientDisconnect:
            pass
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(400, "The upload must be multipart/form-data with files named 'files'.") from error

    def _check(self, route: str, name: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Refuse a body that the page's functions cannot take, and replace this page's URLs in it by paths.

        Args:
            route: The route, as in `ROUTES`.
            name: The last part of the request's path.
            body: The JSON object.
            headers: The request's headers, by name in lower case.

        Raises:
            Refused: The body is invalid.
        """
        session = body.get("session_hash")
        if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
            raise Refused(400, "session_hash must be 1 to 64 characters: letters, digits, - or _.")
        blocks = self._gradio.get_blocks()
        if route.endswith("/component_server/"):
            component_id, fn_name = body.get("component_id"), body.get("fn_name")
            block = blocks.blocks.get(component_id) if _is_integer(component_id) else None
            if session is None or "data" not in body:
                raise Refused(400, "session_hash or data is missing.")
            if not (isinstance(fn_name, str) and getattr(getattr(block, fn_name, None), "_is_server_fn", False)):
                raise Refused(404, "The component has no such function.")
        elif "/call/" in route:
            endpoints = [fn for fn in blocks.fns.values() if fn.api_name == name and fn.api_visibility == "public"]
            if not endpoints:
                raise Refused(404, f"There is no endpoint /{name[:80]}.")
            data = body.get("data")
            if "/v2/" in route:  # takes arguments by name
                parameters = [parameter for parameter in endpoints[0].input_parameter_names if parameter]
                if body.keys() != set(parameters):
                    raise Refused(400, f"The arguments must be: {', '.join(parameters)}.")
                data = [body[parameter] for parameter in parameters]
            _check_data(endpoints[0], data, headers)
        elif "/queue/join" in route or "/run/" in route:
            fn_index = body.get("fn_index")
            function = blocks.fns.get(fn_index) if _is_integer(fn_index) else None
            # Functions that use the queue are called by /queue/join, all others by /run/.
            if function is None or function.fn is None or function.queue == ("/run/" in route) or body.get("batched"):
                raise Refused(404, "There is no such function.")
            _check_data(function, body.get("data"), headers)


async def _read(receive: Any) -> bytes | None:
    """Read the body; None if the visitor leaves before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _parse(body: bytes) -> dict[str, Any]:
    """Parse strictly: orjson refuses what cannot be written as JSON again, such as NaN."""
    try:
        value = orjson.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(400, "The body must be a JSON object.")
    return value


def _serialize(value: dict[str, Any]) -> bytes:
    """The inverse of `_parse`; orjson reads deeper nesting than it writes."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise Refused(400, "The body is nested too deeply.") from error


def _replay(body: bytes, receive: Any) -> Any:
    """A `receive` that returns the body in one message, then whatever comes next."""
    replayed = False

    async def receive_again() -> dict[str, Any]:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_data(function: BlockFunction, data: Any, headers: dict[str, str]) -> None:
    """Refuse values that a function of the page cannot take."""
    if not isinstance(data, list) or len(data) < len(function.inputs):
        raise Refused(400, f"data must be a list with one value for each input ({len(function.inputs)}).")
    for block, value in zip(function.inputs, data, strict=False):
        _check_value(block, value, headers)


def _check_value(block: Block, value: Any, headers: dict[str, str]) -> None:
    """Refuse anything but uploaded files or, for the examples, the index of one."""
    if isinstance(block, gr.Dataset):
        if not (_is_integer(value) and 0 <= value < len(block.samples)):
            raise Refused(400, "There is no such example.")
        return
    if value is None:
        return
    if isinstance(block, gr.HTML) and isinstance(value, list):  # the photo tab's
        if len(value) > MAX_PHOTOS:
            raise Refused(400, f"Send at most {MAX_PHOTOS} photos at a time.")
        for record in value:
            _check_file(record, headers)
        return
    _check_file(value, headers)


def _check_file(value: Any, headers: dict[str, str]) -> None:
    """Refuse anything but Gradio's record of an uploaded file, whose path may be a URL of this page."""
    if not isinstance(value, dict) or value.get("meta") != FILE_DATA or value.get("is_stream"):
        raise Refused(400, 'A file must be an object: {"path": "…", "meta": {"_type": "gradio.FileData"}}.')
    try:
        value["path"] = own_path(str(value.get("path")), headers)
    except StorageFull as error:
        raise Refused(507, str(error)) from error
    if not is_stored(value["path"]):
        raise Refused(400, "Upload the file and send the path that the upload returned. No other path or URL is read.")
    try:
        FileData.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
