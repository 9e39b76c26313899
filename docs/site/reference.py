"""Pages of the API reference: the public names of each package, from the stubs that declare them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from sources import ROOT

SOURCE = ROOT / "src"


def pages() -> Iterator[tuple[str, str]]:
    """Yield (page, Markdown with an instruction for mkdocstrings per public name)."""
    for stub in sorted((SOURCE / "deblurlab").rglob("__init__.pyi")):
        package = ".".join(stub.parent.relative_to(SOURCE).parts)
        page = "index" if package == "deblurlab" else stub.parent.name
        summary = ast.get_docstring(ast.parse(stub.with_suffix(".py").read_text(encoding="utf-8"))) or ""
        names = "\n".join(f"::: {package}.{name}\n" for name in public_names(stub))
        yield f"api/{page}.md", f"# {package}\n\n{summary}\n\n{names}"


def public_names(stub: Path) -> list[str]:
    """Return the names that the stub of a package exports, sorted."""
    body = ast.parse(stub.read_text(encoding="utf-8")).body
    return sorted(alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names)
