"""Local server with the part of the model hub's HTTP API that huggingface_hub calls for downloads and uploads."""

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN = "hf_test"


@dataclass
class Repository:
    """Files of each commit, and the commit of each branch and tag."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Mapping[str, bytes], *, ref: str = "main") -> str:
        """Add files to a branch and return the commit's hash."""
        before = self.commits.get(self.refs.get(ref, ""), {})
        content = {**before, **files}
        digest = sha1(f"{len(self.commits)} {sorted((n, sha1(d).hexdigest()) for n, d in content.items())}".encode())
        self.refs[ref] = digest.hexdigest()
        self.commits[self.refs[ref]] = content
        return self.refs[ref]


class Hub:
    """State of the server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.storage = url.replace("127.0.0.1", "localhost")
        """Address of the large files: another host than that of the hub, which gets no token."""
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        """Methods and paths."""
        self.failure: tuple[int, str] | None = None
        """Status and message of the answer to every request for a file."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        self._file(body=True)

    def do_PUT(self) -> None:
        data = self._body()
        assert self.path == f"/upload/{sha256(data).hexdigest()}"
        self.hub.blobs[sha256(data).hexdigest()] = data
        self._answer(200)

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/api/validate-yaml":
            front = json.loads(body)["content"].split("---\n")[1]
            assert isinstance(yaml.safe_load(front), dict)
            return self._json(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(401, "Invalid username or password.")
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if match := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            files = json.loads(body)["files"]
            modes = {True: "lfs", False: "regular"}
            answer = [
                {"path": f["path"], "uploadMode": modes[f["path"].endswith(".safetensors")], "shouldIgnore": False}
                for f in files
            ]
            return self._json(200, {"files": answer})
        if re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", self.path):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.hub.url}/upload/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self._json(200, {"objects": objects, "transfer": "basic"})
        if match := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            return self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        return self._error(404, "Not found")

    def _create(self, given: dict[str, Any]) -> None:
        if given["organization"] != "me":
            return self._error(403, f"You don't have the rights to create a model under {given['organization']}")
        name = f"{given['organization']}/{given['name']}"
        known = name in self.hub.repositories
        self.hub.repositories.setdefault(name, Repository())
        return self._json(409 if known else 200, {"url": f"{self.hub.url}/{name}"})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        header, *operations = lines
        assert header["key"] == "header"
        files = {
            value["path"]: self.hub.blobs[value["oid"]] if key == "lfsFile" else base64.b64decode(value["content"])
            for key, value in ((line["key"], line["value"]) for line in operations)
        }
        commit = self.hub.repositories[name].commit(files)
        self._json(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})

    def _file(self, *, body: bool) -> None:
        """Answer `/owner/name/resolve/revision/file`; large files are elsewhere, as on the hub."""
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.failure is not None:
            return self._error(*self.hub.failure)
        if self.path.startswith("/blob/"):
            return self._answer(200, self.hub.blobs[self.path.removeprefix("/blob/")], body=body)
        match = re.fullmatch(r"/(?:api/resolve-cache/models/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        repository = self.hub.repositories.get(match[1]) if match else None
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if match is None or repository is None or (repository.private and not allowed):
            return self._error(401 if not allowed else 404, "Repository not found", "RepoNotFound")
        if repository.gated:
            return self._error(403, "Access to this model is restricted", "GatedRepo")
        commit = repository.refs.get(match[2], match[2])
        if commit not in repository.commits:
            return self._error(404, "Revision not found", "RevisionNotFound")
        data = repository.commits[commit].get(match[3])
        if data is None:
            return self._error(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit})
        if match[3].endswith(".safetensors"):
            oid = sha256(data).hexdigest()
            self.hub.blobs[oid] = data
            linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(data))}
            return self._answer(
                302, headers={"X-Repo-Commit": commit, "Location": f"{self.hub.storage}/blob/{oid}", **linked}
            )
        headers = {"X-Repo-Commit": commit, "ETag": f'"{sha1(data).hexdigest()}"'}
        return self._answer(200, data, headers, body=body)

    def _body(self) -> bytes:
        self.hub.requests.append(f"{self.command} {self.path}")
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, status: int, content: Any) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] = {}) -> None:
        named = {} if code is None else {"X-Error-Code": code}
        self._answer(status, headers={"X-Error-Message": message, **named, **headers})

    def _answer(
        self, status: int, data: bytes = b"", headers: Mapping[str, str] | None = None, *, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve an empty hub on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = Hub(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
