"""`deblurlab serve`: a page to restore photographs on, and `POST /restore` for programs. Nothing leaves the machine."""

import asyncio
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any

from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from deblurlab.media.images import SUFFIXES
from deblurlab.media.large_images import LargeImageWriter, TooLargeError, open_image

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported, which would call home
os.environ["HF_HUB_OFFLINE"] = "1"

try:
    import gradio as gr
    import pyvips
    import uvicorn
    from anyio import CapacityLimiter, to_thread
    from fastapi import Depends, FastAPI, HTTPException, Query, Request
    from fastapi.responses import FileResponse, JSONResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.types import ASGIApp

    from deblurlab.serving.limits import Gate, Impatient, Limits, clearing
except ImportError as error:
    raise UserError("deblurlab serve needs Gradio: pip install 'deblurlab[serve]'") from error

_PREVIEW = 1600
"""Longest side of the pictures on the page, in pixels."""
_HERE = ["localhost", "127.0.0.1"]
_STATUS = {"size": 413, "time": 504}
_LOADERS = ("Jpeg", "Uhdr", "Png", "Tiff", "Webp")
"""What libvips may read here: nothing of which it says itself that it isn't made for strangers' files."""


class LimitError(UserError):
    """A visitor asks for too much."""

    def __init__(self, which: str, message: str) -> None:
        super().__init__(message)
        self.status = _STATUS[which]


class Desk:
    """Restores one picture at a time."""

    def __init__(self, restorers: Mapping[str, Restorer], limits: Limits) -> None:
        self.restorers, self.limits = restorers, limits
        self._turn = threading.Lock()

    def restore(self, source: Path, target: Path | None, name: str, strength: float) -> Path:
        """Restore a file into another; by default of the same kind beside it.

        Raises:
            LimitError: It is too large, or takes too long.
            UserError: It can't be read, or there is no such model.
        """
        if name not in self.restorers:
            raise UserError(f"there is no model {name}: {', '.join(self.restorers)}")
        if not 0 <= strength <= 1:
            raise UserError(f"the strength must be between 0 and 1, not {strength:g}")
        if source.stat().st_size > self.limits.megabytes * 1e6:
            raise LimitError("size", f"the file has more than {self.limits.megabytes:g} megabytes")
        restorer = Restorer(self.restorers[name].engine, strength=strength)
        until = time.monotonic() + self.limits.seconds
        with self._my_turn(until):
            try:
                picture = open_image(source, int(self.limits.megapixels * 1e6))
            except TooLargeError as error:
                raise LimitError("size", f"it has more than {self.limits.megapixels:g} million pixels") from error
            target = target or source.with_name(f"restored.{picture.kind}")
            with LargeImageWriter(target, picture) as writer:
                for _, restored in restorer.rows(picture):
                    if time.monotonic() > until:
                        raise LimitError("time", f"it took more than {self.limits.seconds:g} seconds")
                    writer.write(restored)
                writer.finish()
        return target

    @contextmanager
    def _my_turn(self, until: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
            raise LimitError("time", f"it waited for more than {self.limits.seconds:g} seconds")
        try:
            yield
        finally:
            self._turn.release()


def application(restorers: Mapping[str, Restorer], limits: Limits, folder: Path) -> Gate:
    """The page and the interface for programs. Visitors' files are in `folder` and nowhere else."""
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)
    shown = folder / "page"
    shown.mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(shown)
    desk, threads = Desk(restorers, limits), CapacityLimiter(limits.queue + 1)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(clearing(shown, limits.keep))
        yield
        task.cancel()

    def own_folder() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            yield Path(place)

    app = FastAPI(title="deblurlab", openapi_url=None, lifespan=lifespan)

    @app.post("/restore")
    async def restore(
        request: Request,
        place: Annotated[Path, Depends(own_folder)],
        model: str = next(iter(restorers)),
        strength: Annotated[float, Query(ge=0, le=1)] = 1.0,
    ) -> FileResponse:
        """Restore the picture that is the request's body; what comes back is of the same kind."""
        blurred = place / "blurred"
        with blurred.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
        try:
            with _named("the picture", blurred):
                target = await to_thread.run_sync(desk.restore, blurred, None, model, strength, limiter=threads)
        except LimitError as error:
            raise HTTPException(error.status, str(error)) from error
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        return FileResponse(target, media_type=f"image/{target.suffix[1:]}")

    mounted = gr.mount_gradio_app(
        app,
        _page(desk, shown),
        path="/",
        show_error=False,
        max_file_size=f"{limits.megabytes:g}mb",
        footer_links=[],
        run_history=False,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )
    page: Any = mounted.routes[-1]
    page.app.add_exception_handler(TypeError, _no_file)  # Gradio's of a text where a file should be
    return Gate(mounted, limits, shown)


async def _no_file(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "that is no file"}, 400)


def serve(restorers: Mapping[str, Restorer], limits: Limits, *, host: str, port: int) -> None:
    """Until interrupted."""
    protocol = type("Protocol", (Impatient,), {"seconds": limits.transfer})
    with tempfile.TemporaryDirectory(prefix="deblurlab-") as folder, socket.create_server((host, port)) as bound:
        app: ASGIApp = application(restorers, limits, Path(folder))
        if host in _HERE:  # another site may have a name that leads here, and ask for pages in a visitor's browser
            app = TrustedHostMiddleware(app, allowed_hosts=_HERE, www_redirect=False)
        server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", log_level="warning"))
        print(f"http://{host}:{bound.getsockname()[1]}", flush=True)
        server.run(sockets=[bound])


@contextmanager
def _named(name: str, file: Path) -> Iterator[None]:
    """A visitor is told of her picture, not of where it lies here."""
    try:
        yield
    except LimitError:
        raise
    except UserError as error:
        raise UserError(str(error).replace(str(file), name).replace(f"{file.parent}/", "")) from error


def _page(desk: Desk, folder: Path) -> gr.Blocks:
    names = list(desk.restorers)
    with gr.Blocks(title="deblurlab", analytics_enabled=False) as page:
        gr.Markdown("# deblurlab\nDrop a blurred photograph. It is restored on this machine and goes nowhere else.")
        with gr.Row():
            with gr.Column(scale=1):
                photo = gr.Image(
                    label="Blurred", type="filepath", image_mode=None, sources=["upload", "clipboard"], buttons=[]
                )
                photo.preprocess = lambda sent: sent and sent.path  # as it is: nothing but `open_image` reads it
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
            _restore_on(desk, folder),
            [photo, model, strength],
            [slider, download],
            api_visibility="private",
            concurrency_limit=1,
        )
    page.queue(max_size=desk.limits.queue, api_open=False)
    return page


def _restore_on(desk: Desk, folder: Path) -> Callable[[str | None, str, float], tuple[Any, Any]]:
    def restore(photo: str | None, model: str, strength: float) -> tuple[Any, Any]:
        if photo is None:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        source, place = Path(photo), Path(tempfile.mkdtemp(dir=folder))
        suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".png"
        target = place / f"{source.stem}_restored{suffix}"
        try:
            with _named(source.name, source):
                desk.restore(source, target, model, strength)
            shown = _preview(source, place, "before"), _preview(target, place, "after")
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return shown, gr.DownloadButton(value=str(target), interactive=True)

    return restore


def _preview(picture: Path, place: Path, name: str) -> str:
    """What a browser shows of it."""
    shown = place / f"{picture.stem}_{name}.png"
    open_image(picture).image.thumbnail_image(_PREVIEW, size="down").pngsave(str(shown))
    return str(shown)
