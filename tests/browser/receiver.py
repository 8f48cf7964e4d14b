"""A receiver of webhooks whose answers a test chooses: `/503/any` is answered 503."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from typing_extensions import override

HOSTILE = "<script>alert(1)</script> \u202egnp.exe \x1b[31m"


class Receiver:
    """Its address, what it has got, and a status that overrides those of the paths."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status: int | None = None


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            made.got.append(
                ({k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length))
            )
            body = json.dumps({"said": HOSTILE}).encode()
            self.send_response(made.status or int(self.path.split("/")[1]))
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Receiver(server.server_port)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
