"""`deblurlab serve`: a page to restore photographs on, and `POST /restore` for programs. Nothing leaves the machine."""

import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from deblurlab.data.images import SUFFIXES
from deblurlab.errors import UserError
from deblurlab.inference.pictures import PictureWriter, TooLargeError, open_picture
from deblurlab.inference.restorers import Network

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported, which would call home
os.environ["HF_HUB_OFFLINE"] = "1"

try:
    import gradio as gr
    import pyvips
    import uvicorn
    from fastapi import FastAPI, HTTPException, Query, Request, Response
    from starlette.concurrency import run_in_threadpool
except ImportError as error:
    raise UserError("deblurlab serve needs Gradio: pip install 'deblurlab[serve]'") from error

_PREVIEW = 1600
"""Longest side of the pictures on the page, in pixels."""
_STATUS = {"size": 413, "time": 504, "queue": 503}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a visitor may ask for."""

    megabytes: float = 100
    megapixels: float = 64
    seconds: float = 300
    queue: int = 16
    """Pictures that may wait."""


class LimitError(UserError):
    """A visitor asks for too much."""

    def __init__(self, which: str, message: str) -> None:
        super().__init__(message)
        self.status = _STATUS[which]


class Desk:
    """Restores one picture at a time, for as many visitors as may wait."""

    def __init__(self, restorers: Mapping[str, Network], limits: Limits) -> None:
        self.restorers, self.limits = restorers, limits
        self._turn = threading.Lock()
        self._waiting = threading.BoundedSemaphore(limits.queue + 1)

    def restore(self, source: Path, target: Path | None, name: str, strength: float) -> Path:
        """Restore a file into another; by default of the same kind beside it.

        Raises:
            LimitError: It is too large, takes too long, or too many are waiting.
            UserError: It can't be read, or there is no such model.
        """
        if name not in self.restorers:
            raise UserError(f"there is no model {name}: {', '.join(self.restorers)}")
        if not 0 <= strength <= 1:
            raise UserError(f"the strength must be between 0 and 1, not {strength:g}")
        if source.stat().st_size > self.limits.megabytes * 1e6:
            raise LimitError("size", f"the file has more than {self.limits.megabytes:g} megabytes")
        restorer = Network(self.restorers[name].engine, strength=strength)
        until = time.monotonic() + self.limits.seconds
        with self._my_turn(until):
            try:
                picture = open_picture(source, int(self.limits.megapixels * 1e6))
            except TooLargeError as error:
                raise LimitError("size", f"it has more than {self.limits.megapixels:g} million pixels") from error
            target = target or source.with_name(f"restored.{picture.kind}")
            with PictureWriter(target, picture) as writer:
                for _, restored in restorer.rows(picture):
                    if time.monotonic() > until:
                        raise LimitError("time", f"it took more than {self.limits.seconds:g} seconds")
                    writer.write(restored)
                writer.finish()
        return target

    @contextmanager
    def _my_turn(self, until: float) -> Iterator[None]:
        if not self._waiting.acquire(blocking=False):
            raise LimitError("queue", "too many pictures are waiting: try again later")
        try:
            if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
                raise LimitError("time", f"it waited for more than {self.limits.seconds:g} seconds")
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._waiting.release()


def application(restorers: Mapping[str, Network], limits: Limits, folder: Path) -> FastAPI:
    """The page and the interface for programs. Visitors' files are in `folder` and nowhere else."""
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "page")
    desk = Desk(restorers, limits)
    app = FastAPI(title="deblurlab", docs_url=None, redoc_url=None)

    @app.post("/restore")
    async def restore(
        request: Request,
        model: str = next(iter(restorers)),
        strength: Annotated[float, Query(ge=0, le=1)] = 1.0,
    ) -> Response:
        """Restore the picture that is the request's body; what comes back is of the same kind."""
        received = bytearray()
        async for chunk in request.stream():
            received += chunk
            if len(received) > limits.megabytes * 1e6:
                raise HTTPException(413, f"the file has more than {limits.megabytes:g} megabytes")
        try:
            content, kind = await run_in_threadpool(_answered, desk, bytes(received), folder, model, strength)
        except LimitError as error:
            raise HTTPException(error.status, str(error)) from error
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        return Response(content, media_type=f"image/{kind}")

    return gr.mount_gradio_app(
        app,
        _page(desk, folder),
        path="/",
        show_error=True,
        max_file_size=f"{limits.megabytes:g}mb",
        footer_links=[],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )


def serve(restorers: Mapping[str, Network], limits: Limits, *, host: str, port: int) -> None:
    """Until interrupted."""
    with tempfile.TemporaryDirectory(prefix="deblurlab-") as folder, socket.create_server((host, port)) as bound:
        server = uvicorn.Server(uvicorn.Config(application(restorers, limits, Path(folder)), log_level="warning"))
        print(f"http://{host}:{bound.getsockname()[1]}", flush=True)
        server.run(sockets=[bound])


def _answered(desk: Desk, content: bytes, folder: Path, model: str, strength: float) -> tuple[bytes, str]:
    """A restored file and its kind."""
    with tempfile.TemporaryDirectory(dir=folder) as place, _named("the picture", place):
        source = Path(place) / "blurred"
        source.write_bytes(content)
        target = desk.restore(source, None, model, strength)
        return target.read_bytes(), target.suffix[1:]


@contextmanager
def _named(name: str, place: str) -> Iterator[None]:
    """A visitor is told of her picture, not of where it lies here."""
    try:
        yield
    except LimitError:
        raise
    except UserError as error:
        raise UserError(str(error).replace(f"{place}/blurred", name).replace(place, "")) from error


def _page(desk: Desk, folder: Path) -> gr.Blocks:
    names = list(desk.restorers)
    with gr.Blocks(title="deblurlab", analytics_enabled=False, delete_cache=(60, 900)) as page:
        gr.Markdown("# deblurlab\nDrop a blurred photograph. It is restored on this machine and goes nowhere else.")
        with gr.Row():
            with gr.Column(scale=1):
                photo = gr.Image(
                    label="Blurred", type="filepath", image_mode=None, sources=["upload", "clipboard"], buttons=[]
                )
                model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
                strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength")
                start = gr.Button("Restore", variant="primary")
            with gr.Column(scale=2):
                slider = gr.ImageSlider(
                    label="Before and after",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="compare",
                )
                download = gr.DownloadButton("Download", interactive=False)
        start.click(
            _restore_on(desk),
            [photo, model, strength],
            [slider, download],
            api_visibility="private",
            concurrency_limit=1,
        )
    page.queue(max_size=desk.limits.queue, api_open=False)
    return page


def _restore_on(desk: Desk) -> Callable[[str | None, str, float], tuple[Any, Any]]:
    def restore(photo: str | None, model: str, strength: float) -> tuple[Any, Any]:
        if photo is None:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        source = Path(photo)
        suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".png"
        target = source.with_name(f"{source.stem}_restored{suffix}")
        try:
            with _named(source.name, str(source.parent)):
                desk.restore(source, target, model, strength)
            shown = _preview(source, "before"), _preview(target, "after")
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return shown, gr.DownloadButton(value=str(target), interactive=True)

    return restore


def _preview(picture: Path, name: str) -> str:
    """What a browser shows of it."""
    shown = picture.with_name(f"{picture.stem}_{name}.png")
    pyvips.Image.thumbnail(str(picture), _PREVIEW, size="down").pngsave(str(shown))
    return str(shown)
