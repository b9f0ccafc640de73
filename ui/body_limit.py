"""BodyLimit: no request's body is longer or slower than it may be.

Gradio bounds each uploaded file, but neither how many come at once nor JSON, which it reads into memory whole; and it
waits for the rest of a body for ever.
"""

import asyncio
import time
from typing import Any

from ui.limits import BODY_SILENCE_S, MAX_BODY_BYTES, MAX_UPLOAD_BYTES, MIN_BODY_BYTES_S
from ui.middleware import UPLOAD, Refused

TOO_LONG = (413, "The body is longer than this page takes.")
TOO_SLOW = (408, "The body came too slowly.")


class BodyLimit:
    """An ASGI application around another one. It counts the body as it comes, and refuses what is past a limit."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        uploads = scope["deepfer.route"] == UPLOAD
        most = MAX_BODY_BYTES + MAX_UPLOAD_BYTES * uploads  # a file's multipart frame has a few hundred bytes
        start, came, whole, answered = time.monotonic(), 0, False, False

        async def counted() -> dict[str, Any]:
            nonlocal came, whole
            if whole:  # the next message, which may take long, says that the visitor has left
                return await receive()
            left = start + BODY_SILENCE_S + came / MIN_BODY_BYTES_S - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(BODY_SILENCE_S, left))
            except TimeoutError:
                raise Refused(*TOO_SLOW) from None
            came += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if came > most:
                raise Refused(*TOO_LONG)
            return message

        async def noted(message: dict[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if any(name == b"content-length" and int(value) > most for name, value in scope["headers"]):
                raise Refused(*TOO_LONG)
            await self._app(scope, counted, noted)
        except Refused as refused:
            if not answered:
                await refused.answer(send)
