"""Server: Gradio's server behind a gate, with limits on connections, their silence, and the log.

Gradio starts Uvicorn itself and takes no settings for it. Uvicorn waits forever for headers, and if the process runs
out of file descriptors, asyncio logs a traceback for each connection that it cannot accept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any, ClassVar, cast

import gradio.http_server
from gradio.routes import App
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from ui.body_limit import BodyLimit
from ui.document import add_public_files
from ui.limits import HEADERS_S, MAX_CONNECTIONS
from ui.middleware import Gate
from ui.payloads import PayloadValidator

DESCRIPTORS = 4096  # file descriptors to request from the system; connections may use half of them
BACKLOG = 64  # connections that asyncio accepts at once before it checks any: these come on top of MAX_CONNECTIONS
LOG_LINES, LOG_S = 20, 60.0  # at most this many lines per logger in this time


class Connection(H11Protocol):
    """One connection, closed if headers take longer than HEADERS_S, or if the client stops reading for that time.

    When there are MAX_CONNECTIONS, a new one closes the one that has waited longest for headers. So half-sent requests
    keep nobody out, however many there are.
    """

    limit = MAX_CONNECTIONS
    _waiting: ClassVar[dict[Connection, None]] = {}  # all connections without a request, oldest first
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            next(iter(self._waiting), self)._abort()
        if not transport.is_closing():
            self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.pop(self, None)
        for timer in (self._deadline, self._stalled):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._update_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(HEADERS_S, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()

    def _update_deadline(self) -> None:
        """Start the deadline for the next request's headers, or stop it if there is a request."""
        if self.cycle and not self.cycle.response_complete:
            self._waiting.pop(self, None)
            if self._deadline:
                self._deadline.cancel()
        elif self not in self._waiting and not self.transport.is_closing():
            self._waiting[self] = None
            self._deadline = self.loop.call_later(HEADERS_S, self._abort)

    def _abort(self) -> None:
        self._waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()


class LogLimit(logging.Filter):
    """Passes LOG_LINES lines of a logger in LOG_S, and reports later how many it suppressed."""

    def __init__(self) -> None:
        super().__init__()
        self._start, self._count = 0.0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._start > LOG_S:
            suppressed = self._count - LOG_LINES
            self._start, self._count = now, 0
            if suppressed > 0:
                record.msg, record.args = f"{record.getMessage()} ({suppressed} earlier lines were suppressed)", ()
        self._count += 1
        return self._count <= LOG_LINES


def guarded(app: App, host: str) -> Gate:
    """Gradio's application behind all checks; `host` is the address that the server listens on."""
    add_public_files(app)
    return Gate(BodyLimit(PayloadValidator(app, app)), app, host)


class Server(gradio.http_server.Server):
    """Gradio's server with our checks and limits."""

    def __init__(self, config: Config, *args: Any, **settings: Any) -> None:
        super().__init__(config, *args, **settings)
        config.app = guarded(cast(App, config.app), config.host)
        config.http, config.ws, config.backlog = Connection, "none", BACKLOG
        for name in ("uvicorn.error", "asyncio"):
            logging.getLogger(name).addFilter(LogLimit())


def guard() -> None:
    """Make Gradio serve pages with `Server`, and raise the limit on file descriptors."""
    gradio.http_server.Server = Server  # type: ignore[misc]  # Gradio has no setting for it
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < DESCRIPTORS:
            soft = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        Connection.limit = min(MAX_CONNECTIONS, soft // 2)
