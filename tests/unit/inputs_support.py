# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of `harness.inputs` share: tiny kernels, a listener, a web server that can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from harness.inputs.source_cache import Work
from harness.proc import Deadline
from harness.store.layout import Layout


@dataclass
class Heard:
    """A Progress that remembers."""

    steps: list[str] = field(default_factory=list)
    advances: list[tuple[int, int, str]] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, done: int, total: int, unit: str) -> None:
        self.advances.append((done, total, unit))


def make_work(root: Path, seconds: float = 60.0) -> tuple[Work, Heard]:
    heard = Heard()
    (root / "store").mkdir(parents=True, exist_ok=True)
    return Work(Layout(root / "store"), Deadline(seconds), heard), heard


def make_kernel(directory: Path, version: str = "7.3.4", extra: str = "") -> Path:
    """A directory that is a kernel tree as far as this room is concerned."""
    first, second, third = version.split(".")
    (directory / "drivers" / "gpu").mkdir(parents=True)
    (directory / "Makefile").write_text(
        f"# SPDX\nVERSION = {first}\nPATCHLEVEL = {second}\nSUBLEVEL = {third}\nEXTRAVERSION = {extra}\nNAME = A B\n"
    )
    (directory / "drivers" / "gpu" / "ttm.c").write_text("int ttm;\n")
    (directory / "drivers" / "link.c").symlink_to("gpu/ttm.c")
    script = directory / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return directory


def listing(directory: Path) -> list[str]:
    """Names in a directory without the hidden ones."""
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


@dataclass
class Server:
    """What is served, how, and what was asked for."""

    base: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)  # one entry a request of a file: bytes until it hangs up
    fail_with: list[int] = field(default_factory=list)  # one entry a request: a status instead of the file
    ranges: list[str | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Server]:
    """A web server on 127.0.0.1 that knows Range."""
    server = Server("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            server.asked.append(self.path)
            body = server.files.get(unquote(self.path))
            if server.fail_with:
                self._refuse(server.fail_with.pop(0))
            elif body is None:
                self._refuse(404)
            else:
                self._send(body)

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, body: bytes) -> None:
            asked = self.headers.get("Range")
            server.ranges.append(asked)
            begin = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
            if begin >= len(body) and begin:
                self._refuse(416)
                return
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body) - begin))
            self.end_headers()
            part = body[begin:]
            if server.cut_after and self.path.endswith(".xz"):
                part = part[: server.cut_after.pop(0)]
                self.close_connection = True
            self.wfile.write(part)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.base = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
