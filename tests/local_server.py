"""A web server for tests, which nobody but this machine can reach."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """Serves bytes by path, on this machine only."""

    address: str
    contents: dict[str, bytes] = field(default_factory=dict)
    stated_lengths: dict[str, int | None] = field(default_factory=dict)
    """Content-Length by path where it is not that of the content; None: not stated."""
    requests: list[str] = field(default_factory=list)

    def url(self, name: str, content: bytes) -> str:
        """Serve a content from now on, and return where."""
        self.contents[f"/{name}"] = content
        return f"{self.address}/{name}"


@contextmanager
def serving() -> Iterator[Server]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server looks for
            served.requests.append(self.path)
            content = served.contents.get(self.path)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            length = served.stated_lengths.get(self.path, len(content))
            if length is not None:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Keep standard error clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        http.shutdown()
        thread.join()
