"""BodyLimit: limits the size of each request's body, and how slowly it may arrive.

Gradio limits the size of each uploaded file, but not the number of files, nor the size of JSON, which it reads into
memory whole. And it waits forever for the rest of a body.
"""

import asyncio
import time
from typing import Any

from ui.limits import BODY_SILENCE_S, MAX_BODY_BYTES, MAX_UPLOAD_BYTES, MIN_BODY_BYTES_S
from ui.middleware import UPLOAD, Refused

TOO_SLOW = (408, "The request body arrived too slowly. Try again with a faster connection.")


class BodyLimit:
    """ASGI middleware that counts each body as it arrives and refuses the request once it exceeds a limit."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = MAX_BODY_BYTES
        if scope["deepfer.route"] == UPLOAD:
            max_bytes += MAX_UPLOAD_BYTES
        start, received, complete, response_started = time.monotonic(), 0, False, False

        async def limited_receive() -> dict[str, Any]:
            nonlocal received, complete
            if complete:  # the next message says that the visitor has left, which may take long
                return await receive()
            time_left_s = start + BODY_SILENCE_S + received / MIN_BODY_BYTES_S - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(BODY_SILENCE_S, time_left_s))
            except TimeoutError:
                raise Refused(*TOO_SLOW) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > max_bytes:
                raise Refused(413, f"The request body is larger than {max_bytes / 1e6:g} MB.")
            return message

        async def watched_send(message: dict[str, Any]) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        try:
            if any(name == b"content-length" and int(value) > max_bytes for name, value in scope["headers"]):
                raise Refused(413, f"The request body is larger than {max_bytes / 1e6:g} MB.")
            await self._app(scope, limited_receive, watched_send)
        except Refused as refused:
            if not response_started:
                await refused.respond(send)
