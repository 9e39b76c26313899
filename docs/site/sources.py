"""Where the site shows each file of the repository, and the links between its pages."""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""File in the root of the repository -> page of the site."""
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


def place(path: str) -> str:
    """Return the page of the site, with an anchor if need be, that shows a file or folder of the repository."""
    if path in ROOT_PAGES:
        return ROOT_PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "conf":
        return "config/index.md"
    if path.startswith("conf/") and (ROOT / path).is_dir():
        return f"config/{path.removeprefix('conf/')}.md"
    if path.startswith("conf/") and path.count("/") > 1:
        group, _, file = path.removeprefix("conf/").rpartition("/")
        return f"config/{group}.md#{Path(file).stem}"
    return f"files/{path}.md"


def rewrite(text: str, source: str, page: str) -> str:
    """Return Markdown with links between pages of the site.

    Args:
        text: Markdown with links between files of the repository.
        source: Path of the text's file in the repository.
        page: Path of its page in the site.
    """

    def replace(match: re.Match[str]) -> str:
        target, _, anchor = place(_resolve(source, match[1])).partition("#")
        anchor = match[2] or (f"#{anchor}" if anchor else "")
        return f"]({posixpath.relpath(target, posixpath.dirname(page) or '.')}{anchor})"

    parts = _CODE.split(text)
    parts[::2] = [_LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def links(text: str, source: str) -> Iterator[str]:
    """Yield the files and folders of the repository that a Markdown text links to."""
    for part in _CODE.split(text)[::2]:
        for match in _LINK.finditer(part):
            yield _resolve(source, match[1])


def file_pages(texts: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the pages of linked files that have no other page: page -> (file in the repository, Markdown).

    Args:
        texts: Markdown of the other pages by file in the repository.
    """
    found: dict[str, tuple[str, str]] = {}
    queue = [(source, text) for source, text in texts.items()]
    while queue:
        source, text = queue.pop()
        for path in links(text, source):
            if (page := place(path)).startswith("files/") and page not in found:
                found[page] = _show(path)
                queue.append(found[page])
    return found


def _resolve(source: str, target: str) -> str:
    """Return a link's target as a path in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def _show(path: str) -> tuple[str, str]:
    """Return the source and the Markdown of a page: a file's code, a notebook, a folder's README, or all its files."""
    file = ROOT / path
    if (file / "README.md").is_file():
        return f"{path}/README.md", (file / "README.md").read_text(encoding="utf-8")
    if file.suffix == ".md":
        return path, file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        return path, _notebook(file)
    if file.is_file():
        return path, f"# {path}\n\n{code_block(file)}"
    parts = [part for part in sorted(file.rglob("*")) if part.is_file() and "__pycache__" not in part.parts]
    blocks = [f"## {part.relative_to(file).as_posix()}\n\n{code_block(part)}" for part in parts]
    return path, f"# {path}\n\n" + "\n".join(blocks)


def _notebook(file: Path) -> str:
    """Return a notebook's texts, code and stored outputs."""
    parts = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if image := output.get("data", {}).get("image/png"):
                parts.append(f'<img alt="Output" src="data:image/png;base64,{"".join(image).strip()}">')
            elif text := "".join(output.get("text", [])).rstrip():
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def code_block(file: Path) -> str:
    """Return a file as a fenced block of code."""
    return f"````{_LANGUAGES.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8').rstrip()}\n````\n"
