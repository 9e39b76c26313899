"""What `deblurlab serve` lets in: the few routes that its page and programs need, as much and for as long as its limits
say. Nothing else of a request is looked at before it has passed here."""

import asyncio
import re
import time
from asyncio import BaseTransport, TimerHandle, Transport
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, cast

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_FILE, _UPLOAD, _JOIN, _RESTORE = "/gradio_api/file=", "/gradio_api/upload", "/gradio_api/queue/join", "/restore"
_READ = re.compile(
    r"/(theme\.css|favicon\.ico|manifest\.json|config)?"
    r"|/(assets|static)/[\w@./-]{1,200}"
    r"|/gradio_api/(upload_progress|queue/data|heartbeat/\w{1,64})",
    re.ASCII,
)
_WORDS = 1 << 16
"""Bytes of what isn't a picture, or is around one."""
_FILES = 1000
"""Files on the page with which it is full."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a visitor may ask for."""

    megabytes: float = 100
    megapixels: float = 64
    seconds: float = 300
    transfer: float = 120
    """Seconds for a request to come in, and for its answer to go out."""
    keep: float = 900
    """Seconds for which the page's files are kept."""
    queue: int = 16
    """Pictures that may wait."""


class Gate:
    """An application with another behind it, which nobody reaches otherwise.

    A path that a visitor names is compared with those of the page's files, in `folder`, and opens nothing else.
    """

    def __init__(self, app: ASGIApp, limits: Limits, folder: Path) -> None:
        self._app, self._limits, self._folder = app, limits, folder
        self._places = limits.queue + 1
        picture = int(limits.megabytes * 1e6)
        self._most = {_RESTORE: picture, _UPLOAD: picture + _WORDS, _JOIN: _WORDS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        path = scope["path"]
        try:
            self._admit(Request(scope))
            body = self._received(receive, self._most.get(path, 0))
            if path == _JOIN:
                body = await self._joined(body)
            with self._place() if path in (_RESTORE, _UPLOAD) else nullcontext():
                await self._app(scope, body, self._sent(send))
        except HTTPException as error:
            await JSONResponse({"detail": error.detail}, error.status_code, error.headers)(scope, receive, send)
        except ClientDisconnect:
            pass

    def _admit(self, request: Request) -> None:
        path = str(request.scope["path"])
        if request.method in ("GET", "HEAD"):
            known = _READ.fullmatch(path) and ".." not in path
            if not known and path.removeprefix(_FILE) not in map(str, self._files()):
                raise HTTPException(404)
            return
        if request.method != "POST" or path not in self._most:
            raise HTTPException(404)
        if request.headers.get("sec-fetch-site") == "cross-site":
            raise HTTPException(403, "another site's page may not use this one")
        if int(request.headers.get("content-length", 0)) > self._most[path]:
            raise self._too_much()
        if path != _RESTORE and self._full():
            raise _busy("too many pictures are here: try again later")

    def _received(self, receive: Receive, most: int) -> Receive:
        """A request's body, if it comes in time and isn't more than it may be."""
        until = asyncio.get_running_loop().time() + self._limits.transfer
        got, whole = 0, False

        async def received() -> Message:
            nonlocal got, whole
            if whole:  # what comes now is that the visitor has gone
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, f"it took more than {self._limits.transfer:g} seconds to come") from error
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > most:
                raise self._too_much()
            return message

        return received

    def _sent(self, send: Send) -> Send:
        """Where an answer goes, if it is taken in time; news of what goes on has no end."""
        until: float | None = None

        async def sent(message: Message) -> None:
            nonlocal until
            if message["type"] == "http.response.start":
                news = any(key == b"content-type" and b"event-stream" in value for key, value in message["headers"])
                until = None if news else asyncio.get_running_loop().time() + self._limits.transfer
            try:
                async with asyncio.timeout_at(until):
                    await send(message)
            except TimeoutError as error:
                raise ClientDisconnect from error

        return sent

    async def _joined(self, receive: Receive) -> Receive:
        """The page's order, written anew of the little that it must say: Gradio would fetch or copy whatever file or
        address stands anywhere in it."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        try:
            order = _Order.model_validate_json(bytes(body))
        except ValidationError as error:
            raise HTTPException(422, "that is no order of this page") from error
        photograph = order.data[0]
        if photograph is not None and photograph.path not in map(str, self._files()):
            raise HTTPException(422, "the photograph isn't here any more: choose it again")
        rest = [{"type": "http.request", "body": order.model_dump_json().encode(), "more_body": False}]

        async def written() -> Message:
            return rest.pop() if rest else await receive()

        return written

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places:
            raise _busy("too many pictures are waiting: try again later")
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    def _files(self) -> list[Path]:
        return list(self._folder.glob("*/*"))

    def _full(self) -> bool:
        files = [file.stat().st_size for file in self._folder.rglob("*") if file.is_file()]
        return len(files) >= _FILES or sum(files) > (self._limits.queue + 1) * self._limits.megabytes * 1e6

    def _too_much(self) -> HTTPException:
        return HTTPException(413, f"the file has more than {self._limits.megabytes:g} megabytes")


class _Photograph(BaseModel):
    path: str
    meta: dict[str, str] = Field({"_type": "gradio.FileData"}, init=False)


class _Order(BaseModel):
    data: tuple[_Photograph | None, str, float]
    session_hash: Annotated[str, Field(max_length=64)]
    trigger_id: int | None = None
    fn_index: int = 0


def _busy(why: str) -> HTTPException:
    return HTTPException(503, why, {"Retry-After": "5"})


class Impatient(H11Protocol):
    """Hangs up on who doesn't finish a request's head, or takes nothing of an answer, for `seconds`."""

    seconds: ClassVar[float]

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast("Transport", transport))
        self._head = self._taking = self._hanging_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        self._taking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._heard()

    def on_response_complete(self) -> None:
        self._head.cancel()
        self._head = self._hanging_up()
        super().on_response_complete()
        self._heard()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking.cancel()
        self._taking = self._hanging_up()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.cancel()

    def _heard(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._head.cancel()

    def _hanging_up(self) -> TimerHandle:
        return self.loop.call_later(self.seconds, self.transport.abort)


async def clearing(folder: Path, seconds: float) -> None:
    """Delete the page's files when they are so old, until cancelled."""
    while True:
        await asyncio.sleep(min(60, seconds / 4))
        before = time.time() - seconds
        for found in sorted(folder.rglob("*"), reverse=True):
            with suppress(OSError):  # a folder that isn't empty, or somebody was faster
                if found.stat().st_mtime < before:
                    found.rmdir() if found.is_dir() else found.unlink()
