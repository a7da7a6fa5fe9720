"""Serves the page while a sweep runs; the open page asks for updates and keeps its filters.

It answers only this machine, and only requests with the token in the address. Records are read
again only when a file of the sweep's runs has changed.
"""

import contextlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Collection, Iterator
from functools import lru_cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from analysis.dashboard.content import content, specs
from analysis.dashboard.page import as_json, page
from analysis.latency import rows_file
from birds.core.spec import UserError
from birds.core.store import RunFolder, is_locked
from birds.core.sweep import read_sweep, sweep_file

LOCAL = ("127.0.0.1", "localhost", "[::1]")
LOCK = threading.Lock()  # only one thread reads at a time


def newest(runs_dir: Path, sweep: str) -> dict[str, Any]:
    """The present content; its `version` changes with it."""
    with LOCK:
        return _content(runs_dir, sweep, hash(tuple(_seen(runs_dir, sweep))))


@lru_cache(1)
def _content(runs_dir: Path, sweep: str, seen: int) -> dict[str, Any]:
    return content(runs_dir, sweep) | {"live": True, "version": str(seen)}


def _seen(runs_dir: Path, sweep: str) -> Iterator[int | bool]:
    """The change times of the files that the page reads, and which runs are active."""
    yield from map(_changed, (sweep_file(runs_dir, sweep), rows_file(runs_dir)))
    for key in specs(runs_dir, read_sweep(runs_dir, sweep)):
        own = RunFolder(runs_dir, key)
        files = (own.record_file, own.failure_file, own.progress_file, own.curves_file, own.latent)
        yield from map(_changed, (*files, own.study))
        yield is_locked(own.lock_file)


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


class Answer(BaseHTTPRequestHandler):
    """Answers `/` with the page, and `/content.json?version=VERSION` with new content, or with 204
    if there is none.

    Both need `token=TOKEN`, because other users of this machine can reach the port. Requests from
    foreign web pages are rejected by their Host and Origin headers.
    """

    def __init__(
        self, runs_dir: Path, sweep: str, token: str, hosts: Collection[str], *connection: Any
    ) -> None:
        self.runs_dir, self.sweep = runs_dir, sweep
        self.token, self.hosts = token, hosts
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Answer one request."""
        asked = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
        if not self._is_allowed(query.get("token", "")):
            return self.send_error(403, "open the address that birds watch printed")
        if asked.path not in ("/", "/content.json"):
            return self.send_error(404)
        whole = asked.path == "/"
        shown = newest(self.runs_dir, self.sweep)
        news = shown["version"] != query.get("version")
        self.send_response(200 if news else 204)
        kind = "text/html" if whole else "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the page was closed
            self.wfile.write((page(shown) if whole else as_json(shown)).encode() if news else b"")

    def _is_allowed(self, token: str) -> bool:
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        is_ours = origin is None or origin.removeprefix("http://").lower() in self.hosts
        given = token.encode(errors="replace")
        return (
            host.lower() in self.hosts
            and is_ours
            and hmac.compare_digest(given, self.token.encode())
        )

    def log_message(self, *words: Any) -> None:
        """Do not log requests."""


def token_of(runs_dir: Path) -> str:
    """The secret token in the page's address. It is kept in the runs folder, readable only by its
    owner.
    """
    file = runs_dir / "watch-token"
    with contextlib.suppress(OSError):
        about = file.lstat()
        is_private = about.st_mode & 0o177 == 0 and about.st_uid == os.geteuid()
        kept = file.read_text().strip() if is_private else ""
        if re.fullmatch(r"[0-9a-f]{48}", kept):
            return kept
    token = secrets.token_hex(24)
    with contextlib.suppress(OSError):  # a token that cannot be saved is used once
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(token)
    return token


def serve(runs_dir: Path, sweep: str, port: int, host: str | None = None) -> None:
    """Serve a sweep's page on 127.0.0.1 until Ctrl-C. Raises UserError if the port is not
    available.

    Args:
        host: another address of the page, such as that of a tunnel.
    """
    newest(runs_dir, sweep)
    token, hosts = token_of(runs_dir), {host.lower()} if host else set()
    try:
        server = ThreadingHTTPServer(
            ("127.0.0.1", port), partial(Answer, runs_dir, sweep, token, hosts)
        )
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "ports go from 0 to 65535"
        raise UserError(
            f"cannot serve on port {port}: {why}; choose another port, or --port 0 for a free one"
        ) from None
    hosts |= {f"{name}:{server.server_port}" for name in LOCAL}
    with server:
        address = f"http://127.0.0.1:{server.server_port}/?token={token}"
        print(f"{sweep}: {address} until Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nThe page is no longer served; the runs continue.")
