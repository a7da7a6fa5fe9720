"""Tiny models of transformers in folders, and a local server in place of the hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40
CARD = "---\nlicense: cc-by-nc-4.0\ntags: [test]\n---\nA model with random weights.\n"
PROCESSOR = {
    "crop_size": {"height": 48, "width": 48},
    "do_center_crop": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.2],
    "resample": 3,
    "size": {"shortest_edge": 64},
}


def save_vit(folder: Path) -> Any:
    """A ViT of two layers for images of 32 pixels, saved with its classifier; its parameters."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 32, "intermediate_size": 64, "image_size": 32, "patch_size": 8}
    model = ViTForImageClassification(
        ViTConfig(num_hidden_layers=2, num_attention_heads=2, **sizes)
    )
    model.save_pretrained(folder)
    return model.eval()


def save_resnet(folder: Path) -> Any:
    """A ResNet of four stages, saved with its classifier, a processor and a model card."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], layer_type="basic"
    )
    model = ResNetForImageClassification(config)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    (folder / "README.md").write_text(CARD)
    return model.eval()


class _Hub(BaseHTTPRequestHandler):
    """Answers the requests of the hub's own library: a file's commit and checksum, and the file."""

    models: dict[str, Path]
    gated: frozenset[str]
    sent: list[str]

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        name = rest.partition("/")[2]
        if repository in self.gated:
            return self._refuse(403, "GatedRepo")
        if repository not in self.models:
            return self._refuse(401, "RepoNotFound")
        file = self.models[repository] / name
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        content = file.read_bytes()
        if with_body:
            self.sent.append(name)
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def serving(models: dict[str, Path], gated: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Start a hub with these models at `address`; `sent` lists the files that it sent."""
    sent: list[str] = []
    answers = type("Hub", (_Hub,), {"models": models, "gated": gated, "sent": sent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    server.address = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    server.sent = sent  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
