"""Pages of the config groups: each option's comment, targets and parameters, from the files in conf/."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deblurlab.config import find_target
from reference import public_names
from sources import ROOT, code_block

CONF = ROOT / "conf"
_STYLE = "<style>.md-typeset td:first-child code { white-space: nowrap }</style>"


class Parameter(NamedTuple):
    """One row of an option's table."""

    key: str
    value: str
    comment: str


def pages() -> Iterator[tuple[str, str]]:
    """Yield (page, Markdown) of the index and of every group."""
    groups = sorted({file.parent.relative_to(CONF).as_posix() for file in CONF.rglob("*.yaml")} - {"."})
    rows = "".join(f"| [`{name}`]({name}.md) | {_options(name)} |\n" for name in groups)
    yield (
        "config/index.md",
        "# Config groups\n\n`group=option` chooses an option, `key=value` sets a parameter "
        "([training](../training.md#configuration)). Options and parameters are those of the files in `conf/`.\n\n"
        f"| group | options |\n|---|---|\n{rows}\n## Defaults\n\n"
        + "".join(f"### {name}.py\n\n{code_block(CONF / f'{name}.yaml')}\n" for name in ("train", "evaluate")),
    )
    for name in groups:
        sections = "\n".join(option(file, name) for file in sorted((CONF / name).glob("*.yaml")))
        yield f"config/{name}.md", f"# {name}\n\n{_STYLE}\n\n{sections}"


def _options(group: str) -> str:
    return ", ".join(f"[`{file.stem}`]({group}.md#{file.stem})" for file in sorted((CONF / group).glob("*.yaml")))


def option(file: Path, group: str) -> str:
    """Return the section of one option."""
    text = file.read_text(encoding="utf-8")
    prefix = "" if "@package _global_" in text else f"{group.replace('/', '.')}."
    found = list(parameters(yaml.compose(text), text.splitlines(), prefix))
    targets = {row.key.rpartition(".")[0]: row.value for row in found if row.key.endswith("_target_")}
    documented = {row.key: row for key, target in targets.items() for row in arguments(target, f"{key}.")}
    shown = [
        row._replace(comment=row.comment or documented[row.key].comment if row.key in documented else row.comment)
        for row in found
        if not row.key.rpartition(".")[2].startswith("_")
    ]
    given = {row.key for row in found}
    further = [row for row in documented.values() if row.key not in given and row.value]
    extended = yaml.safe_load(text).get("defaults")
    parts = [
        f"## {file.stem}",
        comment(text),
        f"Defaults list: `{_flow(extended)}`." if extended else "",
        "\n".join(f"- `{key}`: {_link(target, group)}" for key, target in targets.items()),
        _table(("parameter", "value", "meaning"), shown),
        _table(("further argument (`+key=value`)", "default", "meaning"), further),
        f'??? note "conf/{group}/{file.name}"\n\n{textwrap.indent(code_block(file), " " * 4)}',
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def comment(text: str) -> str:
    """Return the comment at the head of a file, without Hydra's package directive."""
    head = re.match(r"(?:#.*\n)*", text)
    lines = [line.lstrip("# ") for line in head[0].splitlines()] if head else []
    return "\n".join(line for line in lines if not line.startswith("@package"))


def parameters(node: yaml.Node, lines: list[str], prefix: str) -> Iterator[Parameter]:
    """Yield the values of a file by their keys on the command line, each with its comment.

    Args:
        node: Mapping as `yaml.compose` returns it.
        lines: Lines of the file.
        prefix: Key of the mapping, with a dot at its end.
    """
    for key, value in node.value:
        if key.value == "defaults" and node.start_mark.line <= 2 and key.start_mark.column == 0:
            continue
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from parameters(value, lines, f"{name}.")
        else:
            yield Parameter(name, _flow(yaml.safe_load(yaml.serialize(value))), _comment(key, value, lines))


def _comment(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """Return the comment behind a value, or above its key."""
    line = lines[key.start_mark.line]
    end = value.end_mark.column if value.end_mark.line == key.start_mark.line else len(line)
    if behind := re.match(r"\s*#\s*(.*)", line[end:]):
        return behind[1]
    above = []
    for other in reversed(lines[: key.start_mark.line]):
        if not other.lstrip().startswith("#") or not other.startswith(" " * key.start_mark.column):
            break
        above.insert(0, other.lstrip(" #"))
    return " ".join(above) if len(above) < key.start_mark.line else ""  # not the comment of the file


def arguments(target: str, prefix: str) -> Iterator[Parameter]:
    """Yield the arguments of one of deblurlab's classes or functions; those without a default have the value ""."""
    if not target.startswith("deblurlab."):
        return
    called = find_target({"_target_": target})
    text = (inspect.getdoc(called) or "").partition("Args:\n")[2].partition("\n\n")[0]
    described = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE))
    for name, argument in inspect.signature(called).parameters.items():
        value = "" if argument.default is inspect.Parameter.empty else _flow(argument.default)
        yield Parameter(f"{prefix}{name}", value, " ".join(described.get(name, "").split()))


def _link(target: str, group: str) -> str:
    """Return a target as a link to its page of the reference, if it has one."""
    package, _, name = target.rpartition(".")
    stub = ROOT / "src" / package.replace(".", "/") / "__init__.pyi"
    if not stub.is_file() or name not in public_names(stub):
        return f"`{target}`"
    up = "../" * (group.count("/") + 1)
    return f"[`{target}`]({up}api/{package.rpartition('.')[2]}.md#{target})"


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    try:
        return (
            yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).strip().removesuffix("\n...")
        )
    except yaml.YAMLError:
        return str(value)


def _table(head: tuple[str, str, str], rows: list[Parameter]) -> str:
    """Return a table of Markdown; nothing without rows."""
    if not rows:
        return ""
    cells = [(f"`{row.key}`", f"`{row.value}`", row.comment) for row in rows]
    body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells]
    return "\n".join([f"| {' | '.join(head)} |", "|---|---|---|", *(f"| {row} |" for row in body)])
