"""Origin of results: what restored the images, command, revision, date, software and hardware."""

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deblurlab.errors import UserError
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import parse_json


def method(results: Mapping[str, Any]) -> str:
    """Return what an evaluation measured: the restorer, followed by the name of its run or file if it has one.

    >>> restorer = {"path": "runs/mine/checkpoints/best.ckpt"}
    >>> method({"options": {"restorer": "checkpoint"}, "settings": {"restorer": restorer}})
    'checkpoint mine'
    """
    restorer, path = str(results["options"].get("restorer")), results["settings"]["restorer"].get("path")
    if not path:
        return restorer
    file = Path(str(path))
    name = file.parent.parent.name if file.parent.name == "checkpoints" else file.name
    return restorer if name == restorer else f"{restorer} {name}"


def provenance(run: Run, results: Mapping[str, Any]) -> dict[str, str]:
    """Return command, revision, date, software and hardware of a finished run, as far as its files contain them.

    Raises:
        UserError: environment.json is damaged.
    """
    environment = _environment(run)
    found = {
        "command": _command(environment.get("command") or []),
        "revision": _revision({**environment, **results}),
        "finished": str(results.get("finished") or ""),
        "software": ", ".join(
            [
                *([f"Python {environment['python']}"] if environment.get("python") else []),
                *(f"{name} {version}" for name, version in environment.get("packages", {}).items()),
            ]
        ),
        "hardware": _hardware(environment),
    }
    return {key: text for key, text in found.items() if text}


def _environment(run: Run) -> dict[str, Any]:
    """Return the content of environment.json; empty if the run has none, as evaluations of earlier versions."""
    if not run.environment_file.exists():
        return {}
    try:
        found = parse_json(run.environment_file.read_text())
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError) as error:
        raise UserError(f"{run.environment_file} is damaged ({error}): delete it to write the page without") from error
    return found


def _command(words: list[Any]) -> str:
    """Return the command line, without the folder of the program."""
    if not words:
        return ""
    program = Path(str(words[0])).name
    if program == "__main__.py":
        program = "python -m deblurlab"
    elif program.endswith(".py"):
        program = f"python {shlex.quote(program)}"
    return " ".join([program, *(shlex.quote(str(word)) for word in words[1:])])


def _revision(found: Mapping[str, Any]) -> str:
    parts = [f"version {found['version']}"] if found.get("version") else []
    if found.get("commit"):
        parts.append(f"commit {found['commit']}{', modified' if found.get('modified') else ''}")
    return ", ".join(parts)


def _hardware(environment: Mapping[str, Any]) -> str:
    if "processors" not in environment:
        return ""
    gpus = Counter(str(name) for name in environment.get("gpus", ()))
    parts = [f"{count} x {name}" if count > 1 else name for name, count in gpus.items()] or ["no GPU"]
    for name in ("processors", "threads"):
        count = environment.get(name)
        parts.append(f"{count} {name.removesuffix('s') if count == 1 else name}")
    return ", ".join([*parts, str(environment.get("platform", ""))])
