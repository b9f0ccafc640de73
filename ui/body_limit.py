"""BodyLimit: no request's body is longer than it may be, whatever the request says of its length.

Gradio bounds each uploaded file, but not how many come at once, nor JSON, which it takes into memory whole.
"""

from typing import Any

from deepfer.limits import MAX_BODY_BYTES, MAX_UPLOAD_BYTES


class _TooLong(Exception):
    """More has come than there may be."""


class BodyLimit:
    """An ASGI middleware; a request that is too long gets status 413, at once where it says so itself."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        uploads = scope["path"].rstrip("/").endswith("/upload")
        most = MAX_BODY_BYTES + MAX_UPLOAD_BYTES * uploads  # an upload's file stands in a frame of a few hundred bytes
        came, answered = 0, False

        async def counted() -> dict[str, Any]:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most:
                raise _TooLong
            return message

        async def noted(message: dict[str, Any]) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if any(name == b"content-length" and int(value) > most for name, value in scope["headers"]):
                raise _TooLong
            await self._app(scope, counted, noted)
        except _TooLong:
            if not answered:
                head = [(b"content-type", b"text/plain")]
                await send({"type": "http.response.start", "status": 413, "headers": head})
                await send({"type": "http.response.body", "body": b"more than is taken"})
