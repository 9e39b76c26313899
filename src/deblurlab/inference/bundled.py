"""The models that come with deblurlab."""

from importlib.resources import files
from pathlib import Path

from deblurlab.errors import UserError

DEFAULT = "fidelity"


def names() -> list[str]:
    """What they are called."""
    return sorted(folder.name for folder in _folder().iterdir() if (folder / "release.json").is_file())


def weights_folder(weights: str | Path | None) -> Path:
    """Where weights lie: those of a name, unless there is a file or folder of that name.

    Raises:
        UserError: There are neither.
    """
    given = Path(weights if weights is not None else DEFAULT)
    if weights is not None and given.exists():
        return given
    if str(given) in names():
        return _folder() / given
    raise UserError(
        f"there are no weights {given}: give a release, a run's folder, a checkpoint, an ONNX file, or one of "
        f"{', '.join(names())}"
    )


def _folder() -> Path:
    return Path(str(files("deblurlab"))) / "weights"
