"""A run's folder: what lies where, and whether this command may continue it."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from deblurlab.errors import UserError
from deblurlab.runs.files import write_text
from deblurlab.runs.untrusted import parse_json, read_yaml

_IGNORED = {"fresh", "name", "run", "runs", "shard"}
"""Settings in which a command may differ from the run that it continues: how it is called, where it lies, which share
of the work it does."""


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
        return self.checkpoints / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def previous_checkpoint(self) -> Path:
        """The one before the last, in case that is damaged."""
        return self.checkpoints / "previous.ckpt"

    def results(self) -> dict[str, Any] | None:
        """What the finished run found; None if it hasn't finished.

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
        return results

    def _config(self) -> dict[str, Any]:
        config = read_yaml(self.config_file)
        if not isinstance(config, dict) or "run" not in config:
            raise UserError(f"{self.config_file} holds no run's config")
        return config

    def clear(self) -> None:
        """Delete what a run has written.

        Raises:
            UserError: The folder holds something, but no run; or it holds other runs too.
        """
        if self.folder.is_dir() and any(self.folder.iterdir()):
            if not self.config_file.exists():
                raise UserError(
                    f"{self.folder} isn't empty and holds no run: fresh=true won't delete it; choose another name="
                )
            if others := sorted(self.folder.glob("*/config.yaml")):
                raise UserError(
                    f"{self.folder} holds other runs ({others[0].parent.name}): fresh=true won't delete it; name this "
                    f"run with name=<name>"
                )
            shutil.rmtree(self.folder)

    def claim(self, config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Make the folder this config's, or see that it is. What has failed before its first checkpoint holds no claim.

        Raises:
            UserError: It belongs to a run of another config, or can't be written.
        """
        if self.config_file.exists():
            try:
                before = _settings(self._config())
            except UserError as error:
                raise UserError(f"{error}. Delete it, and the command that began the run goes on") from None
            now = _settings(config)
            changed = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
            states = [file for kind in ("*.ckpt", "*.ckpt.damaged") for file in self.checkpoints.glob(kind)]
            if changed and (states or self.results_file.exists() or any(self.parts.glob("*.jsonl"))):
                listed = "; ".join(f"{k} was {before.get(k)!r} and is {now.get(k)!r}" for k in changed[:5])
                more = f"; and {len(changed) - 5} more" if len(changed) > 5 else ""
                raise UserError(
                    f"{self.folder} holds a run of another config: {listed}{more}. name=<other> keeps both, fresh=true "
                    f"deletes the old one"
                )
            if not changed:
                return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.overrides_file, OmegaConf.to_yaml(list(overrides)))
            write_text(self.config_file, OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        except OSError as error:
            raise UserError(
                f"{self.folder} can't be written ({error.strerror}): choose another place with runs=<folder>"
            ) from error


def _settings(config: Any) -> dict[str, Any]:
    """Dotted keys and their values, free of where the run lies."""
    place = str(config["run"])
    values = _flat({key: value for key, value in config.items() if key not in _IGNORED})
    return {k: v.replace(place, "<run>") if isinstance(v, str) else v for k, v in values.items()}


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, Mapping):
        return {prefix.rstrip("."): config}
    return {key: value for name, node in config.items() for key, value in _flat(node, f"{prefix}{name}.").items()}


def parse_shard(text: str | None) -> tuple[int, int]:
    """Which share of the work `1/3` is: (number from 0, of how many).

    Raises:
        UserError: It is none.
    """
    if text is None:
        return 0, 1
    first, _, last = str(text).partition("/")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UserError(f"shard={text} is none: shard=1/3 is the first of three")
    return int(first) - 1, int(last)
