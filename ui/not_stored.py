"""NotStored: browsers keep no copy of a file that the page sends them."""

from typing import Any


class NotStored:
    """An ASGI middleware: the files that visitors get show people, so they are marked not to be stored."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async def marked(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
            await send(message)

        a_file = scope["type"] == "http" and "/file=" in scope["path"]
        await self._app(scope, receive, marked if a_file else send)
