"""Payloads: what a JSON body must hold before Gradio sees it.

Gradio raises for most bodies that its own clients do not send: it answers 500, or an event that says nothing, and
writes a traceback to the log each time. It also downloads whatever URL stands in the place of an uploaded file.
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

from ui.middleware import UPLOAD, Refused, is_kept

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
FILE_DATA = {"_type": "gradio.FileData"}  # marks the record of an uploaded file


class Payloads:
    """An ASGI application around another one. It refuses malformed JSON and malformed uploads with a 4xx.

    Args:
        app: What answers the requests that pass.
        gradio: Gradio's application, which knows the page's functions and what each takes.
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
            body = await _whole(receive)
            if body is not None:
                self._check(scope["deepfer.route"], scope["path"].rpartition("/")[2], _parsed(body))
                await self._app(scope, _replayed(body, receive), send)

    async def _upload(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Let Gradio read a multipart body. Its 500 is withheld, so that whoever catches the error can answer."""
        failed = False

        async def withheld(message: dict[str, Any]) -> None:
            nonlocal failed
            failed = failed or message.get("status") == 500
            if not failed:
                await send(message)

        try:
            await self._app(scope, receive, withheld)
        except ClientDisconnect:
            pass
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(400, "The upload must be multipart/form-data with files named 'files'.") from error

    def _check(self, route: str, name: str, body: dict[str, Any]) -> None:
        """Refuse a body that the page's functions cannot take.

        Args:
            route: The route, as in `ROUTES`.
            name: The last part of its path.
            body: The object that was sent.

        Raises:
            Refused: With what is wrong.
        """
        session = body.get("session_hash")
        if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
            raise Refused(400, "session_hash must be up to 64 letters, digits, - and _.")
        blocks = self._gradio.get_blocks()
        if route.endswith("/component_server/"):
            number, function = body.get("component_id"), body.get("fn_name")
            block = blocks.blocks.get(number) if _is_integer(number) else None
            if session is None or "data" not in body:
                raise Refused(400, "session_hash or data is missing.")
            if not (isinstance(function, str) and getattr(getattr(block, function, None), "_is_server_fn", False)):
                raise Refused(404, "The component has no such function.")
        elif "/call/" in route:
            named = [each for each in blocks.fns.values() if each.api_name == name and each.api_visibility == "public"]
            if not named:
                raise Refused(404, f"There is no endpoint /{name[:80]}.")
            data = body.get("data")
            if "/v2/" in route:  # takes arguments by name
                names = [each for each in named[0].input_parameter_names if each]
                if body.keys() != set(names):
                    raise Refused(400, f"The arguments must be: {', '.join(names)}.")
                data = [body[each] for each in names]
            _check_data(named[0], data)
        elif "/queue/join" in route or "/run/" in route:
            number = body.get("fn_index")
            known = blocks.fns.get(number) if _is_integer(number) else None
            # What does not wait in the queue goes to /run/, and nothing else does.
            if known is None or known.fn is None or known.queue == ("/run/" in route) or body.get("batched"):
                raise Refused(404, "The page has no such function here.")
            _check_data(known, body.get("data"))


async def _whole(receive: Any) -> bytes | None:
    """The body; None if the visitor left before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _parsed(body: bytes) -> dict[str, Any]:
    """The object in a body; the strict reader refuses what could not be written as JSON again, such as NaN."""
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "The body must be a JSON object.")
    return found


def _replayed(body: bytes, receive: Any) -> Any:
    """A `receive` that gives the body in one message, and then what comes after it."""
    given = False

    async def replay() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_data(function: BlockFunction, data: Any) -> None:
    """Refuse a list of values that a function of the page cannot take."""
    if not isinstance(data, list) or len(data) < len(function.inputs):
        raise Refused(400, f"data must be a list of {len(function.inputs)} values, one for each input.")
    for block, value in zip(function.inputs, data, strict=False):
        _check_value(block, value)


def _check_value(block: Block, value: Any) -> None:
    """Refuse what is not an uploaded file or, for the examples, not the number of one."""
    if isinstance(block, gr.Dataset):
        if not (_is_integer(value) and 0 <= value < len(block.samples)):
            raise Refused(400, "There is no such example.")
        return
    if value is None:
        return
    if not isinstance(value, dict) or value.get("meta") != FILE_DATA or value.get("is_stream"):
        raise Refused(400, f"A file must be an object with path and meta, which is {FILE_DATA}.")
    if not (isinstance(value.get("path"), str) and is_kept(value["path"])):
        raise Refused(400, "Upload the file and send the path that the upload returned. No other path or URL is read.")
    try:
        FileData.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        raise Refused(400, f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}.") from error
