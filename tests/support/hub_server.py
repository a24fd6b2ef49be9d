"""A stand-in of the Hugging Face hub's HTTP API on loopback, for models and data sets.

It keeps repositories in memory and speaks what huggingface_hub uses to create, upload (through the
LFS protocol; not Xet) and download. What is there is listed file by file, so that a test can see
what was sent twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

TOKEN = "hf_ThisIsTheOnlyTokenThatMayWrite"
COMMIT = "0123456789" * 4
_API = re.compile(
    r"/api/(?P<kind>model|dataset)s/(?P<id>[^/]+/[^/]+)(/(?P<what>\w[\w-]*)(/(?P<rest>.*))?)?"
)
_LFS = re.compile(r"/(?P<datasets>datasets/)?(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
_RESOLVE = re.compile(r"/(?P<datasets>datasets/)?(?P<id>[^/]+/[^/]+)/resolve/[^/]+/(?P<path>.+)")


@dataclass
class Repository:
    """A model or a data set: its files, and whether others may see it."""

    is_private: bool
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Hub:
    """What the stand-in has, and what was asked of it."""

    url: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    """(model or dataset, OWNER/NAME) -> repository."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 -> content of large files that were uploaded."""
    uploads: list[str] = field(default_factory=list)
    """SHA-256 of each upload of a large file, in order."""
    downloads: list[str] = field(default_factory=list)
    """Path of each file whose content was asked for."""
    n_commits: int = 0
    uploads_until_it_breaks: int | None = None
    """Refuse large files after so many of them."""

    def put(self, kind: str, name: str, files: dict[str, bytes]) -> None:
        """Make a public repository."""
        self.repositories[kind, name] = Repository(False, dict(files))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = Hub(f"http://127.0.0.1:{self.server_address[1]}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if not (match := _API.fullmatch(path)):
            return self._resolve()
        if (repository := self._repository(match["kind"], match["id"])) is None:
            return None
        files = repository.files
        if match["what"] == "tree":
            return self._send(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": _git_oid(content)}
                    for name, content in sorted(files.items())
                ]
            )
        return self._send(
            {
                "id": match["id"], "sha": COMMIT, "private": repository.is_private,
                "siblings": [{"rfilename": name} for name in sorted(files)],
            }
        )  # fmt: skip

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            return self._send({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send({"error": "Invalid credentials in Authorization header"}, 401)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := _LFS.fullmatch(path):
            return self._batch(json.loads(body))
        match = _API.fullmatch(path)
        assert match is not None, f"the stand-in does not know {path}"
        if (repository := self._repository(match["kind"], match["id"])) is None:
            return None
        if match["what"] == "preupload":
            return self._send({"files": [_mode(file) for file in json.loads(body)["files"]]})
        assert match["what"] == "commit", f"the stand-in does not know {path}"
        self.server.hub.n_commits += 1
        self._commit(repository, [json.loads(line) for line in body.splitlines()])
        url = f"{self.server.hub.url}/{match['id']}/commit/{COMMIT}"
        return self._send({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def do_PUT(self) -> None:
        """Content of a large file, under an address that the batch gave out."""
        hub = self.server.hub
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if hub.uploads_until_it_breaks is not None and (
            len(hub.uploads) >= hub.uploads_until_it_breaks
        ):
            return self._send({"error": "the disk is full"}, 403)
        digest = hashlib.sha256(content).hexdigest()
        assert self.path == f"/objects/{digest}"
        hub.uploads.append(digest)
        hub.objects[digest] = content
        return self._send({})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization'] or 'me'}/{wanted['name']}"
        place = (wanted.get("type", "model"), name)
        url = f"{self.server.hub.url}/{'datasets/' * (place[0] == 'dataset')}{name}"
        if place in self.server.hub.repositories:
            return self._send({"error": "You already created this repo", "url": url}, 409)
        is_private = wanted.get("private") is True or wanted.get("visibility") == "private"
        self.server.hub.repositories[place] = Repository(is_private)
        return self._send({"url": url})

    def _batch(self, wanted: dict[str, Any]) -> None:
        hub = self.server.hub
        self._send(
            {
                "transfer": "basic",
                "objects": [
                    one
                    if one["oid"] in hub.objects
                    else one | {"actions": {"upload": {"href": f"{hub.url}/objects/{one['oid']}"}}}
                    for one in wanted["objects"]
                ],
            }
        )

    def _commit(self, repository: Repository, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.server.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del repository.files[value["path"]]

    def _resolve(self) -> None:
        """A file's size and name for HEAD, its content for GET."""
        match = _RESOLVE.fullmatch(unquote(urlsplit(self.path).path))
        assert match is not None, f"the stand-in does not know {self.path}"
        kind = "dataset" if match["datasets"] else "model"
        if (repository := self._repository(kind, match["id"])) is None:
            return None
        content = repository.files.get(match["path"])
        if content is None:
            return self._send({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        if self.command == "GET":
            self.server.hub.downloads.append(match["path"])
        headers = {"ETag": f'"{_git_oid(content)}"', "X-Repo-Commit": COMMIT}
        return self._send(content, headers=headers)

    def _repository(self, kind: str, name: str) -> Repository | None:
        found = self.server.hub.repositories.get((kind, name))
        is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found is None or (found.is_private and not is_known):
            headers = {"X-Error-Code": "RepoNotFound"}
            self._send({"error": "Repository not found"}, 404, headers)
            return None
        return found

    def _send(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    """The hub decides by name and content what is large; here by the name alone."""
    is_large = file["path"].endswith((".safetensors", ".parquet"))
    return {
        "path": file["path"], "shouldIgnore": False,
        "uploadMode": "lfs" if is_large else "regular",
    }  # fmt: skip


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """The stand-in, while the block runs."""
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(hub: Hub, cache: str) -> dict[str, str]:
    """Variables that lead huggingface_hub to the stand-in and to an empty cache."""
    return {
        "HF_ENDPOINT": hub.url, "HF_HOME": cache, "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip


def lead_to(hub: Hub, cache: str, monkeypatch: Any) -> None:
    """The same for this process, where huggingface_hub has read its variables already."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for name in ("HF_HUB_CACHE", "HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.setattr(constants, name, f"{cache}/{name}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
