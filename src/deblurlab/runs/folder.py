"""Folder of a run: its files, and the check whether a command may resume it."""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from deblurlab.errors import UserError
from deblurlab.runs.files import write_text
from deblurlab.runs.untrusted import is_safe_relative_path, parse_json, read_yaml

_IGNORED = {"fresh", "name", "run", "runs", "save", "shard", "trust", "restorer.trust"}
"""Config keys that may differ when a run is resumed: its name, its folder, shard, trusted classes, saved images."""

_LOCK, _HOLDER = ".lock", ".locked-by"

_RENAMED_TEXTS = {
    "variance of the Laplacian of Y of BT.601 (16..235); knows no sharp image, and noise raises it too": (
        "variance of the Laplacian of Y of BT.601 (16..235); no reference; noise raises it too"
    ),
    "LPIPS 0.1 on AlexNet; lower is better": "LPIPS 0.1 on AlexNet; lower is better (net=alex, weights=imagenet)",
    "LPIPS 0.1 on VGG16; lower is better": "LPIPS 0.1 on VGG16; lower is better (net=vgg, weights=imagenet)",
}
"""Protocol descriptions in results written before they were reworded, and their present form."""


def check_fresh(value: object) -> None:
    """Raise UserError unless the setting `fresh`, which deletes an earlier run, is a bool."""
    if not isinstance(value, bool):
        raise UserError(f"fresh={value} must be true or false: true deletes an earlier run in the run's folder")


def check_name(name: object, runs: str) -> None:
    """Raise UserError unless a run's name is that of a folder below `runs`, or None."""
    if name is not None and not is_safe_relative_path(str(name)):
        raise UserError(
            f"name={name} isn't the name of a folder below runs={runs}: choose one without .. and leading /"
        )


class Run:
    """One training or evaluation and its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / "config.yaml"
        self.overrides_file = folder / "overrides.yaml"
        self.environment_file = folder / "environment.json"
        self.results_file = folder / "results.json"
        self.metrics_file = folder / "metrics.csv"
        self.per_image_file = folder / "per_image.csv"
        self.report_file = folder / "report.html"
        self.checkpoints = folder / "checkpoints"
        self.samples = folder / "samples"
        self.parts = folder / "parts"

    @property
    def best_checkpoint(self) -> Path:
        """Checkpoint with the best validation metric."""
        return self.checkpoints / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        """Checkpoint of the last saved step."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        """Checkpoint before the last one, used if the last one is damaged."""
        return self.checkpoints / "previous.ckpt"

    def results(self) -> dict[str, Any] | None:
        """Return the results of a finished run, or None if it hasn't finished.

        Raises:
            UserError: The file is damaged.
        """
        if not self.results_file.exists():
            return None
        try:
            results = parse_json(self.results_file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.results_file} is damaged ({error}): delete it and run the command again") from error
        if not isinstance(results, dict):
            raise UserError(f"{self.results_file} holds no results: delete it and run the command again")
        if isinstance(protocol := results.get("protocol"), dict):
            protocol.update({name: _RENAMED_TEXTS.get(str(text), text) for name, text in protocol.items()})
        return results

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock ends with the process, however it ends.

        Raises:
            UserError: Another process holds the folder, or it can't be written.
        """
        lock, holder = FileLock(self.folder / _LOCK), self.folder / _HOLDER
        created = [path for path in self.folder.parents if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            text = holder.read_text() if holder.exists() else "another process"
            raise UserError(f"{self.folder} is in use by {text}: wait for it, or choose another name=") from None
        except OSError as error:
            raise UserError(
                f"{self.folder} can't be written ({error.strerror}): choose another folder with runs=<folder>"
            ) from error
        started = datetime.now().astimezone().isoformat(" ", "seconds")
        try:
            write_text(holder, f"process {os.getpid()} on {platform.node()}, started {started}")
            yield
        finally:
            holder.unlink(missing_ok=True)
            if [path.name for path in self.folder.iterdir()] == [_LOCK]:  # nothing was written: a setting was wrong
                shutil.rmtree(self.folder)
                for path in created:
                    with suppress(OSError):  # another run is in it
                        path.rmdir()
            lock.release()

    def clear(self) -> None:
        """Delete the content of the run's folder.

        Raises:
            UserError: The folder isn't empty and holds no run, or it holds other runs.
        """
        files = self.folder.iterdir() if self.folder.is_dir() else ()
        if content := [path for path in files if path.name not in (_LOCK, _HOLDER)]:
            if not self.config_file.exists():
                raise UserError(
                    f"{self.folder} isn't empty and holds no run: fresh=true won't delete it; choose another name="
                )
            if others := sorted(self.folder.glob("*/config.yaml")):
                raise UserError(
                    f"{self.folder} holds other runs ({others[0].parent.name}): fresh=true won't delete it; name this "
                    f"run with name=<name>"
                )
            for path in content:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def claim(self, config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Write the config into the folder, or check that the folder's config is the same.

        A run that failed before its first checkpoint is overwritten.

        Raises:
            UserError: The folder holds a run of another config, or can't be written.
        """
        if self.config_file.exists():
            changes = self._changes(config)
            if changes and self._has_state():
                more = f"; and {len(changes) - 5} more" if len(changes) > 5 else ""
                raise UserError(
                    f"{self.folder} holds a run of another config: {'; '.join(changes[:5])}{more}. name=<other> keeps "
                    f"both, fresh=true deletes the old one"
                )
            if not changes:
                return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.overrides_file, OmegaConf.to_yaml(list(overrides)))
            write_text(self.config_file, OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        except OSError as error:
            raise UserError(
                f"{self.folder} can't be written ({error.strerror}): choose another folder with runs=<folder>"
            ) from error

    def _changes(self, config: Mapping[str, Any]) -> list[str]:
        """Return the differences between the folder's config and another one, for a message."""
        try:
            before = read_yaml(self.config_file)
            if not isinstance(before, dict) or "run" not in before:
                raise UserError(f"{self.config_file} holds no run's config")
        except UserError as error:
            raise UserError(f"{error}. Delete it, and the command that started the run resumes it") from None
        old, new = _settings(before), _settings(config)
        keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
        return [f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in keys]

    def _has_state(self) -> bool:
        """Return whether the folder holds checkpoints, results or parts of results."""
        checkpoints = (file for kind in ("*.ckpt", "*.ckpt.damaged") for file in self.checkpoints.glob(kind))
        return any(checkpoints) or self.results_file.exists() or any(self.parts.glob("*.jsonl"))


def parse_shard(text: str | None) -> tuple[int, int]:
    """Return (index from 0, count) of a shard such as `1/3`; (0, 1) for None.

    Raises:
        UserError: The text isn't a shard.
    """
    if text is None:
        return 0, 1
    first, _, last = str(text).partition("/")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UserError(f"shard={text} is not a shard: shard=1/3 is the first of three")
    return int(first) - 1, int(last)


def _settings(config: Any) -> dict[str, Any]:
    """Return dotted keys and values of a config that don't depend on the run's folder."""
    folder = str(config["run"])
    values = {key: value for key, value in _flatten(config).items() if key not in _IGNORED}
    return {k: v.replace(folder, "<run>") if isinstance(v, str) else v for k, v in values.items()}


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, Mapping):
        return {prefix.rstrip("."): config}
    return {key: value for name, node in config.items() for key, value in _flatten(node, f"{prefix}{name}.").items()}
