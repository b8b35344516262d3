"""A Hub on this machine, which serves the files of a folder to huggingface_hub as a dataset."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest


def commit_of(revision: str) -> str:
    """Return the commit of a branch."""
    return hashlib.sha1(revision.encode()).hexdigest()


class LocalHub(ThreadingHTTPServer):
    """Datasets by repository and branch. `sent` counts bytes by file; after `fail_after` of them, requests fail."""

    daemon_threads = True

    def __init__(self, datasets: dict[tuple[str, str], Path]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.datasets = datasets
        self.sent: dict[str, int] = {}
        self.fail_after: int | None = None

    def folder(self, repository: str, revision: str) -> Path | None:
        """Return the files of a branch or commit, if there is one."""
        found = (
            folder
            for (name, branch), folder in self.datasets.items()
            if name == repository and revision in (branch, commit_of(branch))
        )
        return next(found, None)


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._info(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)/?(.*)", path):
            folder = self.server.folder(match[1], match[2])
            assert folder is not None
            self._json([_entry(folder, file) for file in sorted((folder / match[3]).iterdir())])
        elif match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            folder = self.server.folder(match[1], match[2])
            assert folder is not None
            self._range(match[3], (folder / match[3]).read_bytes())
        else:
            self._json({"error": f"unexpected {self.path}"}, 500)

    def _info(self, repository: str, revision: str) -> None:
        folder = self.server.folder(repository, revision)
        if folder is None:
            known = any(name == repository for name, _ in self.server.datasets)
            self._json({"error": "not found"}, 404, "RevisionNotFound" if known else "RepoNotFound")
            return
        files = [_entry(folder, file) for file in sorted(folder.rglob("*")) if file.is_file()]
        siblings = [{"rfilename": file["path"], "size": file["size"], "blobId": file["oid"]} for file in files]
        self._json({"id": repository, "sha": commit_of(revision), "siblings": siblings})

    def _range(self, name: str, contents: bytes) -> None:
        first, last = map(int, re.findall(r"\d+", self.headers["range"]))
        part = contents[first : last + 1]
        limit = self.server.fail_after
        if limit is not None and sum(self.server.sent.values()) + len(part) > limit:
            self._json({"error": "the line is cut"}, 403)
            return
        self.server.sent[name] = self.server.sent.get(name, 0) + len(part)
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def _json(self, value: Any, status: int = 200, code: str | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)


def _entry(folder: Path, file: Path) -> dict[str, Any]:
    path = file.relative_to(folder).as_posix()
    if file.is_dir():
        return {"type": "directory", "path": path, "oid": "0" * 40}
    contents = file.read_bytes()
    return {"type": "file", "path": path, "size": len(contents), "oid": hashlib.sha1(contents).hexdigest()}


@contextmanager
def serve_hub(datasets: dict[tuple[str, str], Path], patch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Let huggingface_hub use a Hub on this machine within a ``with`` block."""
    with LocalHub(datasets) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{hub.server_port}"
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        patch.setattr("huggingface_hub.constants.ENDPOINT", address)
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield hub
        hub.shutdown()
