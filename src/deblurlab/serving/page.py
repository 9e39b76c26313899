"""Web page for restoring an image, built with Gradio."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from deblurlab._compat import pass_upload_path
from deblurlab.errors import UserError
from deblurlab.media.images import SUFFIXES
from deblurlab.media.large_images import open_image
from deblurlab.serving.service import RestoreService, hide_path

_PREVIEW_SIDE = 1600
"""Maximum side of the displayed images in pixels."""


def build_page(service: RestoreService, folder: Path) -> gr.Blocks:
    """Return the page. Its files are stored in `folder`."""
    names = list(service.restorers)
    with gr.Blocks(title="deblurlab", analytics_enabled=False) as page:
        gr.Markdown("# deblurlab\nUpload a blurred photograph. It is restored on this server and sent nowhere else.")
        with gr.Row():
            with gr.Column(scale=1):
                upload = gr.Image(
                    label="Blurred", type="filepath", image_mode=None, sources=["upload", "clipboard"], buttons=[]
                )
                pass_upload_path(upload)
                model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
                strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength")
                start = gr.Button("Restore", variant="primary")
            with gr.Column(scale=2):
                comparison = gr.ImageSlider(
                    label="Before and after",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="compare",
                )
                download = gr.DownloadButton("Download", interactive=False)
        start.click(
            _on_restore(service, folder),
            [upload, model, strength],
            [comparison, download],
            api_visibility="private",
            concurrency_limit=1,
        )
    page.queue(max_size=service.limits.queue, api_open=False)
    return page


def _on_restore(service: RestoreService, folder: Path) -> Callable[[str | None, str, float], tuple[Any, Any]]:
    def restore(upload: str | None, model: str, strength: float) -> tuple[Any, Any]:
        if upload is None:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        source, results = Path(upload), Path(tempfile.mkdtemp(dir=folder))
        suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".png"
        target = results / f"{source.stem}_restored{suffix}"
        try:
            with hide_path(source, source.name):
                restored = service.restore(source, target, model, strength)
            previews = _preview(source, results, "before"), _preview(target, results, "after")
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        if restored.not_kept:
            gr.Info(f"Not kept: {', '.join(restored.not_kept)}")
        return previews, gr.DownloadButton(value=str(target), interactive=True)

    return restore


def _preview(image: Path, folder: Path, name: str) -> str:
    """Write a PNG of at most `_PREVIEW_SIDE` pixels per side; return its path."""
    preview = folder / f"{image.stem}_{name}.png"
    open_image(image).image.thumbnail_image(_PREVIEW_SIDE, size="down").pngsave(str(preview))
    return str(preview)
