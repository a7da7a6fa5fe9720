"""A local server on 127.0.0.1 with the part of W&B's HTTP interface that the real client needs; it
stores what was sent.

GraphQL (the viewer, upserting a run, its state, upload addresses, saving a view or report), the
file stream (history, summary, console) and file uploads. History lines are stored at the offset
that the client names, as W&B does.
"""

import gzip
import json
import re
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

KEY = "0" * 40


@dataclass
class SeenRun:
    """The data of a run that W&B would have."""

    upserts: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"

    def bucket(self, name: str) -> dict[str, Any]:
        """The run in GraphQL's form."""
        known: dict[str, Any] = {}
        for upsert in self.upserts:
            known |= {key: value for key, value in upsert.items() if value is not None}
        points, summary = self.history, self.lines.get("wandb-summary.json", {})
        files = [
            {"node": {"name": file, "sizeBytes": len(body)}} for file, body in self.files.items()
        ]
        return {
            "id": f"id-{name}",
            "name": name,
            "displayName": known.get("displayName"),
            "description": None,
            "notes": None,
            "sweepName": None,
            "config": known.get("config", "{}"),
            "wandbConfig": known.get("config") and json.dumps({"t": 1}),
            "tags": known.get("tags", []),
            "summaryMetrics": summary.get(0, "{}"),
            "historyLineCount": len(points),
            "eventsLineCount": len(self.lines.get("wandb-events.jsonl", {})),
            "logLineCount": len(self.lines.get("output.log", {})),
            "historyTail": json.dumps([json.dumps(points[-1])] if points else []),
            "eventsTail": "[]",
            "state": self.state,
            "files": {"edges": files},
        }

    @property
    def history(self) -> list[dict[str, Any]]:
        """The points, in order."""
        lines = self.lines.get("wandb-history.jsonl", {})
        return [json.loads(lines[offset]) for offset in sorted(lines)]


class StandIn(ThreadingHTTPServer):
    """The server. `refuse(what, run)` may return an error status such as 429 for a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: dict[str, SeenRun] = {}
        self.order: list[str] = []
        self.views: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self.refuse: Callable[[str, str], int | None] = lambda what, run: None
        self.guard = threading.RLock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing, because a client that is killed breaks its connections."""

    def run(self, name: str) -> SeenRun:
        """The run with this id; a new one is made if needed."""
        if name not in self.runs:
            self.runs[name] = SeenRun()
            self.order.append(name)
        return self.runs[name]


class _Answer(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        pass

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, value: Any, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(text)

    def _refused(self, what: str, run: str) -> bool:
        with self.server.guard:
            self.server.asked[what] += 1
            status = self.server.refuse(what, run)
            if status is not None:
                self.server.refused[status] += 1
        if status is not None:
            self._answer({"error": f"refused with {status}"}, status)
        return status is not None

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, _, run, name = self.path.split("/", 3)
        if not self._refused("upload", run):
            with self.server.guard:
                self.server.run(run).files[name] = body
            self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/graphql":
            self._graphql(json.loads(body))
        elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            self._stream(found[1], json.loads(body))
        else:  # the client's telemetry
            self._answer({})

    def _stream(self, run: str, body: dict[str, Any]) -> None:
        refused = self._refused("file_stream", run)
        with self.server.guard:
            seen = self.server.run(run)
            for name, chunk in (body.get("files") or {}).items():
                lines = chunk["content"]
                if refused:  # the worst case: it stores a part, then answers with an error
                    lines = lines[: len(lines) // 2]
                seen.lines.setdefault(name, {}).update(enumerate(lines, chunk["offset"]))
            if body.get("complete") and not refused:
                seen.state = "finished" if body.get("exitcode") == 0 else "failed"
        if not refused:
            self._answer({"exitcode": None, "limits": {}})

    def _graphql(self, body: dict[str, Any]) -> None:
        query, given = body["query"], body.get("variables") or {}
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        what = found[1] if found else "anonymous"
        run = given.get("name") or given.get("run") or ""
        if self._refused(what, run):
            return
        with self.server.guard:
            data = getattr(self, f"_on_{what.lower()}", self._on_other)(given, query)
        self._answer({"data": data})

    def _on_createartifact(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        return {
            "createArtifact": {
                "artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": {"id": "s"}}
            }
        }

    def _on_getprojects(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        user = {
            "id": "u",
            "name": "me",
            "username": "me",
            "email": None,
            "admin": False,
            "flags": None,
            "entity": "me",
        }
        user |= {"deletedAt": None, "apiKeys": None, "teams": None}
        project = {
            "__typename": "Project",
            "id": "p",
            "name": "birds",
            "entityName": "me",
            "createdAt": "2026-01-01",
        }
        pages = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        nodes = [{"node": project | {"isBenchmark": False, "user": user}}]
        return {"models": {"pageInfo": pages, "edges": nodes}}

    def _on_upsertview(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        known = given.get("id") or f"view-{len(self.server.views)}"
        inserted = known not in self.server.views
        self.server.views[known] = given
        project = {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}
        view = {key: given[key] for key in ("name", "displayName", "description", "type", "spec")}
        return {
            "upsertView": {"view": view | {"id": known, "project": project}, "inserted": inserted}
        }

    _on_upsertview2 = _on_upsertview

    def _on_other(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        print("a query that this stand-in does not know:", query, given)
        return {}

    def _on_viewer(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        if self.headers["Authorization"] != "Basic " + b64encode(f"api:{KEY}".encode()).decode():
            return {"viewer": None}
        return {
            "viewer": {
                "id": "1",
                "entity": "me",
                "username": "me",
                "flags": "{}",
                "teams": {"edges": []},
            }
        }

    def _on_serverfeaturesquery(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _on_held(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        return self._on_runresumestatus(given, query)

    def _on_runresumestatus(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        seen = self.server.runs.get(given["name"])
        project = {
            "id": "p",
            "name": given["project"],
            "entity": {"id": "e", "name": given["entity"] or "me"},
        }
        return {"model": project | {"bucket": None if seen is None else seen.bucket(given["name"])}}

    def _on_upsertbucket(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        seen = self.server.run(given["name"])
        inserted = not seen.upserts
        seen.upserts.append(given)
        project = {
            "id": "p",
            "name": given["project"],
            "entity": {"id": "e", "name": given["entity"] or "me"},
        }
        return {
            "upsertBucket": {
                "bucket": seen.bucket(given["name"]) | {"project": project},
                "inserted": inserted,
            }
        }

    def _on_createrunfiles(self, given: dict[str, Any], query: str) -> dict[str, Any]:
        to = f"{self.server.url}/storage/{given['run']}"
        files = [{"name": name, "uploadUrl": f"{to}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
