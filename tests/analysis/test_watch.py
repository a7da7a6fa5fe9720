"""`birds watch` answers only requests with its token and with one of this machine's names."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from analysis.dashboard import watch
from analysis.dashboard.watch import LOCAL, Answer, token_of

TOKEN = "f" * 48


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A served page that shows only its version."""
    shown = {"version": "7", "sweep": "exp1"}
    monkeypatch.setattr(watch, "newest", lambda runs_dir, sweep: shown)
    hosts: set[str] = {"near.example:9000"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answer, tmp_path, "x", TOKEN, hosts))
    hosts |= {f"{name}:{server.server_port}" for name in LOCAL}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def status(port: int, path: str = f"/?token={TOKEN}", **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in ({"Host": f"127.0.0.1:{port}"} | headers).items():
        connection.putheader(name, value.format(port=port))
    connection.endheaders()
    answered = connection.getresponse()
    answered.read()
    connection.close()
    return answered.status


def test_who_knows_the_token_is_answered(port: int) -> None:
    assert status(port) == 200
    assert status(port, f"/content.json?token={TOKEN}&version=6") == 200
    assert status(port, f"/content.json?token={TOKEN}&version=7") == 204
    assert status(port, f"/elsewhere?token={TOKEN}") == 404


@pytest.mark.parametrize("query", ["", "?", "?token=", "?token=0", f"?token={TOKEN[1:]}", "?7"])
@pytest.mark.parametrize("path", ["/", "/content.json", "/elsewhere"])
def test_without_the_token_nothing_is_told(port: int, path: str, query: str) -> None:
    assert status(port, path + query) == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("near.example:9000", 200),
        ("evil.example:{port}", 403),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:{port}", 403),
        ("localhost:1", 403),
        ("", 403),
    ],
)
def test_only_names_of_this_machine_are_answered(port: int, host: str, expected: int) -> None:
    assert status(port, Host=host) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:{port}", 200),
        ("http://localhost:{port}", 200),
        ("http://evil.example", 403),
        ("https://evil.example:{port}", 403),
        ("null", 403),
    ],
)
def test_pages_of_others_are_refused(port: int, origin: str, expected: int) -> None:
    assert status(port, Origin=origin) == expected


def test_the_token_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    token = token_of(tmp_path)
    file = tmp_path / "watch-token"
    assert len(token) == 48
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_of(tmp_path) == token
    file.chmod(0o644)
    assert token_of(tmp_path) != token, "others may have read it"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("short")
    assert len(token_of(tmp_path)) == 48


def test_a_link_in_place_of_the_token_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "watch-token").symlink_to(tmp_path / "mine")
    assert len(token_of(tmp_path)) == 48
    assert (tmp_path / "mine").read_text() == "precious"
