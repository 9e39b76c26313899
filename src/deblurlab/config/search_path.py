"""Location of the configuration files and Hydra's search path."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from deblurlab.errors import UserError

_SHIPPED = Path(__file__).parents[1] / "shipped"
_ROOT = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[3]
CONF = _ROOT / "conf"
"""Folder of the configuration files: in the checkout, or in the installed wheel."""
SWEEPS = _ROOT / "sweeps"
"""Folder of the sweeps, stored beside `CONF`."""
_FOLDERS: ContextVar[Sequence[Path]] = ContextVar("_FOLDERS", default=())
"""The user's config folders, within `search_folders`."""


class SearchPath(SearchPathPlugin):
    """Hydra plugin that adds the sources `sum://` and `path://`, `SWEEPS` and the user's folders to the search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the sources and the folders."""
        search_path.append("deblurlab", "sum://")
        search_path.append("deblurlab", "path://")
        search_path.append("deblurlab", f"file://{SWEEPS}")
        for folder in _FOLDERS.get():
            search_path.append("deblurlab", f"file://{folder}")


@contextmanager
def search_folders(folders: Sequence[str | Path]) -> Iterator[None]:
    """Add the user's config folders to Hydra's search path within the block, like `--config-dir`.

    Raises:
        UserError: A folder doesn't exist.
    """
    absolute = [Path(folder).absolute() for folder in folders]
    if missing := [str(folder) for folder in absolute if not folder.is_dir()]:
        raise UserError(f"the config folder {missing[0]} doesn't exist")
    token = _FOLDERS.set(absolute)
    try:
        yield
    finally:
        _FOLDERS.reset(token)


def options(group: str) -> list[str]:
    """Return the option names of a config group, sorted."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
