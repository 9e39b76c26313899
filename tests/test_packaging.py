"""Declared dependencies of pyproject.toml."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = sorted((ROOT / "src").rglob("*.py"))


def _normalized(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared() -> set[str]:
    """Return the distributions that the package or one of its extras requires."""
    extras = [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    requirements = [*PROJECT["dependencies"], *extras]
    return {_normalized(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}


def _imported(file: Path) -> Iterator[str]:
    """Yield the top-level names that a file imports, in functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        yield from (name.partition(".")[0] for name in names)


def test_requirements_are_read() -> None:
    assert {"torch", "pyvips", "pyyaml", "ray", "opencv-python-headless"} <= _declared()


def test_imported_packages_are_declared() -> None:
    declared, distributions = _declared(), packages_distributions()
    own = {path.name for path in (ROOT / "src").iterdir()}
    imported = {name: file for file in FILES for name in _imported(file)}
    third_party = {name: file for name, file in imported.items() if name not in own | sys.stdlib_module_names}
    assert {"torch", "yaml", "cv2", "hydra"} <= third_party.keys()
    undeclared = {
        name: str(file.relative_to(ROOT))
        for name, file in third_party.items()
        if not {_normalized(distribution) for distribution in distributions.get(name, [])} & declared
    }
    assert undeclared == {}
