"""BodyLimit: no request's body is longer or slower than it may be.

Gradio bounds each uploaded file, but not how many come at once, nor JSON, which it takes into memory whole; and it
waits for the rest of a body for ever.
"""

import asyncio
from typing import Any

from deepfer.limits import BODY_SILENCE_S, MAX_BODY_BYTES, MAX_UPLOAD_BYTES

TOO_LONG = (413, "more than is taken")
TOO_SLOW = (408, "nothing came for too long")


class _Refused(Exception):
    """With status and reason."""


class BodyLimit:
    """An ASGI middleware; what is too long gets status 413, at once where it says so itself; what is too slow, 408."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        uploads = scope["path"].rstrip("/").endswith("/upload")
        most = MAX_BODY_BYTES + MAX_UPLOAD_BYTES * uploads  # an upload's file stands in a frame of a few hundred bytes
        came, whole, answered = 0, False, False

        async def counted() -> dict[str, Any]:
            nonlocal came, whole
            if whole:  # what comes now, and may take long, is that the visitor leaves
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), BODY_SILENCE_S)
            except TimeoutError:
                raise _Refused(*TOO_SLOW) from None
            came += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if came > most:
                raise _Refused(*TOO_LONG)
            return message

        async def noted(message: dict[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if any(name == b"content-length" and int(value) > most for name, value in scope["headers"]):
                raise _Refused(*TOO_LONG)
            await self._app(scope, counted, noted)
        except _Refused as refused:
            if not answered:
                status, reason = refused.args
                head = [(b"content-type", b"text/plain"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": status, "headers": head})
                await send({"type": "http.response.body", "body": reason.encode()})
