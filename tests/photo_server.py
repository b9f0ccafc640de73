"""A server of one photo under any name, as slow as a distant disk, which counts the requests for each name."""

import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread

DELAY_S = 0.05


class PhotoServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, photo: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.photo = photo.read_bytes()
        self.endless = b""  # what is sent again and again, instead of the photo
        self.asked: Counter[str] = Counter()
        self.lock = Lock()

    def __enter__(self) -> "PhotoServer":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: PhotoServer

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked[self.path] += 1
        time.sleep(DELAY_S)
        self.send_response(200)
        if not self.server.endless:
            self.send_header("Content-Length", str(len(self.server.photo)))
        self.end_headers()
        with suppress(ConnectionError):
            while self.server.endless:
                self.wfile.write(self.server.endless)
            self.wfile.write(self.server.photo)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass
