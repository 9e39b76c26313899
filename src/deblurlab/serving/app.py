"""ASGI application and server of `deblurlab serve`."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from deblurlab._compat import gradio_app
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # both must be set before Gradio is imported
os.environ["HF_HUB_OFFLINE"] = "1"

try:
    import gradio as gr
    import pyvips
    import uvicorn
    from anyio import CapacityLimiter, to_thread
    from fastapi import Depends, FastAPI, HTTPException, Query, Request
    from fastapi.responses import FileResponse, JSONResponse
    from starlette.datastructures import UploadFile
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.types import ASGIApp

    from deblurlab.serving.limits import Limits, RequestLimitMiddleware, delete_expired_files
    from deblurlab.serving.page import build_page
    from deblurlab.serving.service import LimitError, RestoreService, hide_path
    from deblurlab.serving.timeouts import TimeoutProtocol
except ImportError as error:
    raise UserError("deblurlab serve needs Gradio: pip install 'deblurlab[serve]'") from error

_LOCAL_HOSTS = ["localhost", "127.0.0.1"]
_LOADERS = ("Jpeg", "Uhdr", "Png", "Tiff", "Webp")
"""Loaders of libvips that are enabled; libvips marks none of them as unsafe for untrusted files."""


def create_app(restorers: Mapping[str, Restorer], limits: Limits, folder: Path) -> RequestLimitMiddleware:
    """Return the application: the web page at `/` and the API `POST /restore`.

    Args:
        restorers: Restorers by name; the first one is the default.
        limits: Limits of requests.
        folder: Folder of all temporary files; those of the page are in its subfolder `page`.
    """
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _LOADERS:
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)
    page_folder = folder / "page"
    page_folder.mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(page_folder)
    service = RestoreService(restorers, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(delete_expired_files(page_folder, limits.keep))
        yield
        task.cancel()

    app = FastAPI(title="deblurlab", openapi_url=None, lifespan=lifespan)
    _add_api(app, service, folder)
    mounted = gr.mount_gradio_app(
        app,
        build_page(service, page_folder),
        path="/",
        show_error=False,
        max_file_size=f"{limits.megabytes:g}mb",
        footer_links=[],
        run_history=False,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )
    gradio_app(mounted).add_exception_handler(TypeError, _on_type_error)
    return RequestLimitMiddleware(mounted, limits, page_folder)


def _add_api(app: FastAPI, service: RestoreService, folder: Path) -> None:
    threads = CapacityLimiter(service.limits.queue + 1)

    def request_folder() -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=folder) as created:
            yield Path(created)

    @app.post("/restore")
    async def restore(
        request: Request,
        place: Annotated[Path, Depends(request_folder)],
        model: str = next(iter(service.restorers)),
        strength: Annotated[float, Query(ge=0, le=1)] = 1.0,
    ) -> FileResponse:
        """Restore the image in the request's body or form; return an image of the same format."""
        blurred = place / "blurred"
        await _store(request, blurred)
        try:
            with hide_path(blurred, "the file"):
                restored = await to_thread.run_sync(service.restore, blurred, None, model, strength, limiter=threads)
        except LimitError as error:
            raise HTTPException(error.status, str(error)) from error
        except UserError as error:
            raise HTTPException(422, str(error)) from error
        lost = ", ".join(restored.not_kept).encode("ascii", "backslashreplace").decode()
        return FileResponse(
            restored.file,
            media_type=f"image/{restored.file.suffix[1:]}",
            headers={"X-Not-Kept": lost} if lost else None,
        )


async def _store(request: Request, target: Path) -> None:
    """Write the body of a request to a file, or the file in its form.

    Raises:
        HTTPException: The form doesn't hold exactly one file.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        with target.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
        return
    async with request.form(max_files=2, max_fields=10) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        texts = [name for name, value in form.multi_items() if isinstance(value, str)]
        if texts:
            raise HTTPException(
                422, f"the form field {texts[0]!r} is not a file: give model and strength in the address"
            )
        if len(files) != 1:
            raise HTTPException(422, "the form must hold one file")
        with target.open("wb") as file:
            await to_thread.run_sync(shutil.copyfileobj, files[0].file, file)


async def _on_type_error(request: Request, error: Exception) -> JSONResponse:
    """Handle Gradio's TypeError for a form field that holds text instead of a file."""
    return JSONResponse({"detail": "a form field is not a file"}, 400)


def serve(restorers: Mapping[str, Restorer], limits: Limits, *, host: str, port: int) -> None:
    """Serve the application until interrupted; print its address."""
    protocol = type("Protocol", (TimeoutProtocol,), {"seconds": limits.transfer})
    with tempfile.TemporaryDirectory(prefix="deblurlab-") as folder, socket.create_server((host, port)) as listener:
        app: ASGIApp = create_app(restorers, limits, Path(folder))
        if host in _LOCAL_HOSTS:  # against DNS rebinding: a page whose host name resolves to this machine
            app = TrustedHostMiddleware(app, allowed_hosts=_LOCAL_HOSTS, www_redirect=False)
        server = uvicorn.Server(uvicorn.Config(app, http=protocol, ws="none", log_level="warning"))
        print(f"http://{host}:{listener.getsockname()[1]}", flush=True)
        server.run(sockets=[listener])
