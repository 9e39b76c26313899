"""Models that are bundled with the package."""

from importlib.resources import files
from pathlib import Path

from deblurlab.checkpoints.hub import is_address
from deblurlab.errors import UserError

DEFAULT = "fidelity"
"""Name of the model that is used if no weights are given."""


def names() -> list[str]:
    """Return the names of the bundled models."""
    return sorted(folder.name for folder in _folder().iterdir() if (folder / "config.json").is_file())


def weights_folder(weights: str | Path | None) -> Path:
    """Return the path of weights: a release on the hub, a file or folder, or else a bundled model of that name.

    Raises:
        UserError: There is neither a file or folder nor a bundled model of that name, or the hub has no such release.
    """
    if weights is not None and is_address(weights):
        from deblurlab.checkpoints.release import local_path  # imports torch

        return local_path(weights)
    given = Path(weights if weights is not None else DEFAULT)
    if weights is not None and given.exists():
        return given
    if str(given) in names():
        return _folder() / given
    raise UserError(
        f"there are no weights {given}: give a release, a run's folder, a checkpoint, an ONNX file, hf://owner/name, "
        f"or one of {', '.join(names())}"
    )


def _folder() -> Path:
    return Path(str(files("deblurlab"))) / "weights"
