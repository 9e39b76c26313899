"""MkDocs hooks: pages from outside of docs/, generated pages, links, formulas."""

import html
import re
from typing import Any

import ziamath
from mkdocs.structure.files import File, Files

import gallery
import reference
import sources

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_repository: dict[str, str] = {}
"""Page -> the file of the repository that it shows."""


def on_config(config: Any) -> Any:
    """Add the generated pages to the navigation."""
    for title, module in (("Config groups", gallery), ("Python reference", reference)):
        pages = [page for page, _ in module.pages()]
        config.nav.append({title: sorted(pages, key=lambda page: (not page.endswith("index.md"), page))})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root folder, of linked files, of the config groups and of the reference."""
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()} | {
        path: (sources.ROOT / path).read_text(encoding="utf-8") for path in sources.ROOT_PAGES
    }
    _repository.update({sources.place(path): path for path in texts})
    added = {page: texts[path] for path, page in sources.ROOT_PAGES.items()}
    for page, (path, text) in sources.file_pages(texts).items():
        _repository[page], added[page] = path, text
    added |= dict(gallery.pages()) | dict(reference.pages())
    for page, text in added.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links between files of the repository point to the pages of the site."""
    name = page.file.src_uri
    return sources.rewrite(markdown, _repository[name], name) if name in _repository else markdown


def on_page_content(content: str, **_: Any) -> str:
    """Convert formulas from LaTeX to SVG, which needs neither JavaScript nor fonts for mathematics."""
    return _FORMULA.sub(_draw, content)


def _draw(match: re.Match[str]) -> str:
    text, inline = html.unescape(match[2]).strip(), match[1] == "span"
    ziamath.config.svg2 = False  # no ids, which several formulas of a page would share
    formula = ziamath.Latex(text, size=17, color="currentColor", inline=inline, title=text, margin=1)
    if inline:
        return formula.svg().replace("<svg ", f'<svg style="vertical-align: {formula.getyofst() - 1:.2f}px" ', 1)
    return f'<div style="overflow-x: auto; text-align: center">{formula.svg()}</div>'
