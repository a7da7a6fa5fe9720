"""The page served while a sweep runs: the open page asks for news and shows them in place, filters
as they were.

Only this machine is answered. Records are read again when a file of the sweep's runs has changed,
not otherwise.
"""

import contextlib
import threading
from collections.abc import Iterator
from functools import lru_cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from analysis.dashboard.content import content, specs
from analysis.dashboard.page import as_json, page
from analysis.latency import rows_file
from birds.core.spec import UserError
from birds.core.store import RunFolder, is_locked
from birds.core.sweep import read_sweep, sweep_file

LOCK = threading.Lock()  # one reading at a time, however many pages are open


def newest(runs_dir: Path, sweep: str) -> dict[str, Any]:
    """The content as of now; its `version` changes with it."""
    with LOCK:
        return _content(runs_dir, sweep, hash(tuple(_seen(runs_dir, sweep))))


@lru_cache(1)
def _content(runs_dir: Path, sweep: str, seen: int) -> dict[str, Any]:
    return content(runs_dir, sweep) | {"live": True, "version": str(seen)}


def _seen(runs_dir: Path, sweep: str) -> Iterator[int | bool]:
    """When each file that the page reads was changed, and which runs are being worked on."""
    yield from map(_changed, (sweep_file(runs_dir, sweep), rows_file(runs_dir)))
    for key in specs(runs_dir, read_sweep(runs_dir, sweep)):
        own = RunFolder(runs_dir, key)
        files = (own.record_file, own.failure_file, own.progress_file, own.curves_file, own.latent)
        yield from map(_changed, files)
        yield is_locked(own.lock_file)


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


class Answer(BaseHTTPRequestHandler):
    """The page at `/`, and at `/content.json?VERSION` what to show in place of that version, or 204
    for no news.
    """

    def __init__(self, runs_dir: Path, sweep: str, *connection: Any) -> None:
        self.runs_dir, self.sweep = runs_dir, sweep
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Answer one request."""
        path, _, version = self.path.partition("?")
        if path not in ("/", "/content.json"):
            return self.send_error(404)
        shown = newest(self.runs_dir, self.sweep)
        news = shown["version"] != version
        self.send_response(200 if news else 204)
        self.send_header(
            "Content-Type", f"{'text/html' if path == '/' else 'application/json'}; charset=utf-8"
        )
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the page was closed
            self.wfile.write(
                (page(shown) if path == "/" else as_json(shown)).encode() if news else b""
            )

    def log_message(self, *words: Any) -> None:
        """Say nothing of every request."""


def serve(runs_dir: Path, sweep: str, port: int) -> None:
    """Serve a sweep's page on 127.0.0.1 until Ctrl-C. Raises UserError when the port cannot be had."""
    newest(runs_dir, sweep)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), partial(Answer, runs_dir, sweep))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "ports go from 0 to 65535"
        raise UserError(
            f"cannot serve on port {port}: {why}; choose another, or --port 0 for any free one"
        ) from None
    with server:
        print(f"{sweep}: http://127.0.0.1:{server.server_port}/ until Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nno longer served; runs go on as they were")
