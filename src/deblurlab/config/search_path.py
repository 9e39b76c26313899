"""Location of the configuration files and Hydra's search path."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

_SHIPPED = Path(__file__).parents[1] / "shipped"
_ROOT = _SHIPPED if _SHIPPED.is_dir() else Path(__file__).parents[3]
CONF = _ROOT / "conf"
"""Folder of the configuration files: in the checkout, or in the installed wheel."""
SWEEPS = _ROOT / "sweeps"
"""Folder of the sweeps, stored beside `CONF`."""


class SearchPath(SearchPathPlugin):
    """Hydra plugin that adds the sources `sum://` and `path://` and the folder `SWEEPS` to the search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the sources and the folder."""
        search_path.append("deblurlab", "sum://")
        search_path.append("deblurlab", "path://")
        search_path.append("deblurlab", f"file://{SWEEPS}")


def options(group: str) -> list[str]:
    """Return the option names of a config group, sorted."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
