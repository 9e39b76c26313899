"""The layout of docs/architecture.md: import directions, packages of config groups, sizes of files and functions."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "deblurlab"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
MAX_LINES, MAX_FUNCTION_LINES = 250, 60


def _table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the page, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def _names(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


LAYERS = [_names(packages) for _, packages in _table("Imports")]
LAYER = {package: i for i, packages in enumerate(LAYERS) for package in packages}
GROUPS = {_names(group)[0]: _names(packages) for group, packages in _table("Config groups and packages")}


class Import(NamedTuple):
    """Import of a deblurlab module."""

    importer: str
    imported: str
    line: int
    at_module_level: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def _module(file: Path) -> str:
    name = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {_module(file): file for file in FILES}
EXPORTS = {
    f"{_module(stub)}.{alias.name}": f"{_module(stub)}.{statement.module}"
    for stub in PACKAGE.rglob("*.pyi")
    for statement in ast.parse(stub.read_text()).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}
"""Name in the stub of a package's `__init__` -> module that is imported when the name is used."""


def _statements(node: ast.AST, at_module_level: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield every import and whether it runs when the module is imported, except those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_module_level
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield from _statements(statement, at_module_level)
        else:
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _statements(child, at_module_level and not in_function)


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the deblurlab modules that a statement names: `from package import name` may name a module."""
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        assert not statement.level, "relative imports hide the direction"
        parent = statement.module or ""
        paths = [f"{parent}.{alias.name}" for alias in statement.names]
        names = [EXPORTS.get(path, path if path in MODULES else parent) for path in paths]
    yield from dict.fromkeys(name for name in names if name.partition(".")[0] == "deblurlab")


IMPORTS = [
    Import(module, imported, statement.lineno, at_module_level)
    for module, file in MODULES.items()
    for statement, at_module_level in _statements(ast.parse(file.read_text()))
    for imported in _imported(statement)
]


def _package(module: str) -> str:
    """Return the package or root module below deblurlab; an empty string for deblurlab itself."""
    return [*module.split("."), ""][1]


def _cycles(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components of more than one node (Tarjan, SIAM J. Computing 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for successor in sorted(edges.get(node, ())):
            if successor not in index:
                visit(successor)
                low[node] = min(low[node], low[successor])
            elif successor in stack:
                low[node] = min(low[node], index[successor])
        if low[node] == index[node]:
            component = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def test_cycles_are_found() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert _cycles(edges) == [{"b", "c"}]


def test_every_package_is_in_one_layer_and_in_the_layout() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    modules = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    listed = [name for layer in LAYERS for name in layer]
    assert sorted(listed) == sorted(packages | modules)
    layout = PAGE.split("## Layout\n", 1)[1].split("\n## ", 1)[0]
    shown = set(re.findall(r"^      (\w+)(?:/|\.py) ", layout, re.MULTILINE))
    assert shown == packages | modules | {"weights"}


def test_the_root_holds_no_other_modules() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files <= {"__init__.py", "__init__.pyi", "__main__.py", "errors.py", "_compat.py", "py.typed"}


def test_packages_are_not_nested() -> None:
    assert [str(file) for file in FILES if len(file.relative_to(PACKAGE).parts) > 2] == []


def test_imports_point_down() -> None:
    upward = [
        str(i)
        for i in IMPORTS
        if (importer := _package(i.importer)) in LAYER
        and (imported := _package(i.imported)) in LAYER
        and LAYER[importer] > LAYER[imported]
    ]
    assert upward == []


def test_core_packages_do_not_import_applications() -> None:
    applications = {*LAYERS[0], *LAYERS[1]}
    wrong = [
        str(i)
        for i in IMPORTS
        if _package(i.imported) in applications and _package(i.importer) not in {*applications, "__main__"}
    ]
    assert wrong == []


FRAMEWORKS = re.compile(r"^\s*(?:from|import) (?:pytorch_lightning|lightning|hydra|omegaconf)\b", re.MULTILINE)


@pytest.mark.parametrize(
    "package",
    ["models", "losses", "discriminators", "metrics", "classical", "synthesis", "media", "datasets"],
)
def test_core_packages_import_no_framework(package: str) -> None:
    files = list((PACKAGE / package).rglob("*.py"))
    assert files
    assert [str(file) for file in files if FRAMEWORKS.search(file.read_text())] == []


def test_packages_have_no_import_cycle() -> None:
    edges: dict[str, set[str]] = defaultdict(set)
    for i in IMPORTS:
        if (importer := _package(i.importer)) != (imported := _package(i.imported)) and imported in LAYER:
            edges[importer].add(imported)
    assert _cycles(edges) == []


def test_modules_have_no_import_cycle() -> None:
    edges: dict[str, set[str]] = defaultdict(set)
    for i in IMPORTS:
        if i.at_module_level and i.importer != i.imported:
            edges[i.importer].add(i.imported)
    assert _cycles(edges) == []


def test_every_config_group_has_a_row() -> None:
    folders = sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir())
    assert sorted(GROUPS) == folders


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_targets_are_in_the_package_of_their_group(group: str) -> None:
    for file in sorted((ROOT / "conf" / group).rglob("*.yaml")):
        for target in re.findall(r"_target_: *((?:deblurlab|hydra_plugins)\.[\w.]+)", file.read_text()):
            package = target.removeprefix("deblurlab.").partition(".")[0]
            assert package in GROUPS[group], f"{file.relative_to(ROOT)}: {target}"


def test_files_named_on_the_page_exist() -> None:
    paths = re.findall(r"`((?:src|conf|tests|sweeps)/[\w./-]*)`", PAGE)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in FILES}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_LINES} == {}


def test_functions_are_short() -> None:
    long = {
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}": lines
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}
