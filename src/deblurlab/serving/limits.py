"""Limits of requests: an ASGI middleware in front of the application, and the deletion of expired files.

The middleware allows only the routes that the page and the API need. It checks a request before the application does.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FILE, _UPLOAD, _JOIN, _RESTORE = "/gradio_api/file=", "/gradio_api/upload", "/gradio_api/queue/join", "/restore"
_GET_ROUTES = re.compile(
    r"/(theme\.css|favicon\.ico|manifest\.json|config)?"
    r"|/(assets|static)/[\w@./-]{1,200}"
    r"|/gradio_api/(upload_progress|queue/data|heartbeat/\w{1,64})",
    re.ASCII,
)
_MAX_OVERHEAD = 1 << 16
"""Maximum number of bytes of a JSON body, and of the form around an uploaded file."""
_MAX_FILES = 1000
"""Maximum number of files of the page."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of requests and of the stored files."""

    megabytes: float = 100
    """Maximum size of a file."""
    megapixels: float = 64
    """Maximum size of an image."""
    seconds: float = 300
    """Maximum time to restore an image, including the wait in the queue."""
    transfer: float = 120
    """Maximum number of seconds to receive a request or to send a response."""
    keep: float = 900
    """Seconds until a file of the page is deleted."""
    queue: int = 16
    """Maximum number of waiting images."""


class RequestLimitMiddleware:
    """ASGI middleware that rejects all requests except those that the page and the API need, within limits.

    A path in a request is compared with the paths of the page's files, in `folder`; no other file can be read.
    """

    def __init__(self, app: ASGIApp, limits: Limits, folder: Path) -> None:
        self._app, self._limits, self._folder = app, limits, folder
        self._free_slots = limits.queue + 1
        max_file = int(limits.megabytes * 1e6)
        self._max_body = {_RESTORE: max_file + _MAX_OVERHEAD, _UPLOAD: max_file + _MAX_OVERHEAD, _JOIN: _MAX_OVERHEAD}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on; answer with an error if it is rejected."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        path = scope["path"]
        try:
            self._check_head(Request(scope))
            body = self._limited_receive(receive, self._max_body.get(path, 0))
            if path == _JOIN:
                body = await self._checked_join(body)
            with self._slot() if path in (_RESTORE, _UPLOAD) else nullcontext():
                await self._app(scope, body, self._limited_send(send))
        except HTTPException as error:
            await JSONResponse({"detail": error.detail}, error.status_code, error.headers)(scope, receive, send)
        except ClientDisconnect:
            pass

    def _check_head(self, request: Request) -> None:
        """Raise HTTPException if the method, path or headers of a request are not allowed."""
        path = str(request.scope["path"])
        if request.method in ("GET", "HEAD"):
            allowed = _GET_ROUTES.fullmatch(path) and ".." not in path
            if not allowed and path.removeprefix(_FILE) not in map(str, self._files()):
                raise HTTPException(404)
            return
        if request.method != "POST" or path not in self._max_body:
            raise HTTPException(404)
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise HTTPException(403, "cross-site requests are not allowed")
        if int(request.headers.get("content-length", 0)) > self._max_body[path]:
            raise self._too_large()
        if path != _RESTORE and self._is_full():
            raise _unavailable("the server's storage is full: try again later")

    def _limited_receive(self, receive: Receive, max_bytes: int) -> Receive:
        """Return a `receive` that raises HTTPException if the body is too large or arrives too slowly."""
        deadline = asyncio.get_running_loop().time() + self._limits.transfer
        size, complete = 0, False

        async def limited() -> Message:
            nonlocal size, complete
            if complete:  # waits for the disconnection of the client, without a deadline
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, f"the request took more than {self._limits.transfer:g} seconds") from error
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > max_bytes:
                raise self._too_large()
            return message

        return limited

    def _limited_send(self, send: Send) -> Send:
        """Return a `send` that raises ClientDisconnect if the client reads the response too slowly."""
        deadline: float | None = None

        async def limited(message: Message) -> None:
            nonlocal deadline
            if message["type"] == "http.response.start":
                # A stream of events lasts as long as the page is open.
                events = any(key == b"content-type" and b"event-stream" in value for key, value in message["headers"])
                deadline = None if events else asyncio.get_running_loop().time() + self._limits.transfer
            try:
                async with asyncio.timeout_at(deadline):
                    await send(message)
            except TimeoutError as error:
                raise ClientDisconnect from error

        return limited

    async def _checked_join(self, receive: Receive) -> Receive:
        """Return a `receive` of the page's request, rebuilt from its validated fields.

        Gradio would fetch or copy any file or URL that occurs anywhere in the original.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        try:
            request = _JoinRequest.model_validate_json(bytes(body))
        except ValidationError as error:
            raise HTTPException(422, "the request is not valid") from error
        upload = request.data[0]
        if upload is not None and upload.path not in map(str, self._files()):
            raise HTTPException(422, "the uploaded file doesn't exist any more: upload it again")
        rest = [{"type": "http.request", "body": request.model_dump_json().encode(), "more_body": False}]

        async def rebuilt() -> Message:
            return rest.pop() if rest else await receive()

        return rebuilt

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Occupy a place in the queue; raise HTTPException if it is full."""
        if not self._free_slots:
            raise _unavailable("too many images are waiting: try again later")
        self._free_slots -= 1
        try:
            yield
        finally:
            self._free_slots += 1

    def _files(self) -> list[Path]:
        return list(self._folder.glob("*/*"))

    def _is_full(self) -> bool:
        sizes = [file.stat().st_size for file in self._folder.rglob("*") if file.is_file()]
        return len(sizes) >= _MAX_FILES or sum(sizes) > (self._limits.queue + 1) * self._limits.megabytes * 1e6

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the file has more than {self._limits.megabytes:g} megabytes")


class _UploadedFile(BaseModel):
    path: str
    meta: dict[str, str] = Field({"_type": "gradio.FileData"}, init=False)


class _JoinRequest(BaseModel):
    """Body of Gradio's `queue/join`: file, name of the restorer, strength."""

    data: tuple[_UploadedFile | None, str, float]
    session_hash: Annotated[str, Field(max_length=64)]
    trigger_id: int | None = None
    fn_index: int = 0


def _unavailable(message: str) -> HTTPException:
    return HTTPException(503, message, {"Retry-After": "5"})


async def delete_expired_files(folder: Path, seconds: float) -> None:
    """Delete files and empty folders that are older than `seconds`, until cancelled."""
    while True:
        await asyncio.sleep(min(60, seconds / 4))
        expired = time.time() - seconds
        for found in sorted(folder.rglob("*"), reverse=True):
            with suppress(OSError):  # the folder isn't empty, or a request has deleted the file
                if found.stat().st_mtime < expired:
                    found.rmdir() if found.is_dir() else found.unlink()
