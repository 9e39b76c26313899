"""Declared dependencies of pyproject.toml."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml

import deblurlab

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


def test_the_version_is_the_same_everywhere() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (readme,) = re.findall(r"^  version = \{(.*)\},$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {PROJECT["version"], deblurlab.__version__, cited["version"], readme} == {PROJECT["version"]}
    assert cited["license"] == PROJECT["license"]


def test_classifiers_name_the_versions_that_ci_tests() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    prefix = "Programming Language :: Python :: "
    named = {name.removeprefix(prefix) for name in PROJECT["classifiers"] if name.startswith(prefix)}
    assert named - {"3 :: Only"} == set(jobs["check"]["strategy"]["matrix"]["python"])


def test_the_image_is_built_from_files_that_exist_and_are_sent() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for name in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    included = {"pyproject.toml", "requirements.lock", "Makefile", "src", "conf", "train.py", "evaluate.py"}
    assert included <= copied  # what `make demo` reads
