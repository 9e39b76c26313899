"""Weights & Biases logger with one W&B run per run folder, however often the run is resumed."""

import csv
import inspect
import logging
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger

from deblurlab._compat import set_wandb_run_id
from deblurlab.errors import UserError, did_you_mean
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

_LOG = logging.getLogger(__name__)
_OF_OTHER_KEYS = {"dir": "run", "save_dir": "run", "experiment": "logger", "version": "logger.wandb.init.id"}
"""Arguments that `init` doesn't take, and the config key that sets them instead."""


class WandB(WandbLogger):
    """Lightning's W&B logger, extended by resuming, results, a table of the test images and checkpoints.

    The W&B run's id is stored in `wandb-id` in the run's folder, so that a resumed training continues the same curves.
    If W&B is unavailable or there is no account, a one-line warning says so and the training continues without it.

    Args:
        folder: Folder of the run.
        project: W&B project.
        entity: W&B user or team; None: the account's own.
        name: Name of the W&B run; by default that of the run's folder.
        group: Group of the W&B run.
        job_type: Job type of the W&B run.
        tags: Tags of the W&B run.
        notes: Description of the W&B run.
        offline: Write to the folder only; `wandb sync` uploads later.
        artifacts: Upload the best and the last checkpoint when the run has finished.
        log_model: Name of `artifacts` in Lightning, which takes precedence; "all" also uploads the best checkpoint at
            every improvement.
        init: Further arguments of `wandb.init` and of Lightning's WandbLogger.

    Raises:
        UserError: `init` has an unknown argument, or one that another config key sets; `log_model` is unknown.
    """

    def __init__(
        self,
        *,
        folder: str,
        project: str,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        offline: bool = False,
        artifacts: bool = True,
        log_model: bool | Literal["all"] | None = None,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        if log_model not in (None, True, False, "all"):
            raise UserError(f"logger.wandb.log_model={log_model} is unknown: use true, false or all")
        arguments = dict(init or {})
        own: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "group": group,
            "job_type": job_type,
            "tags": tags,
            "notes": notes,
        }
        _check_arguments(arguments, {*own, "name", "offline", "log_model"})
        settings = wandb.Settings(**{"init_timeout": 30, "silent": True, **arguments.pop("settings", {})})
        self._given_id = arguments.pop("id", None)
        super().__init__(
            name=name or Path(folder).resolve().name,
            save_dir=os.fspath(Path(folder).resolve()),  # the process of W&B has another working directory
            offline=offline,
            settings=settings,
            **own,
            **arguments,
        )
        self._run = Run(Path(folder))
        self._artifacts: bool | Literal["all"] = artifacts if log_model is None else log_model

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, or a disabled one if W&B is unavailable."""
        if self._experiment is None:  # protected attribute of the base class, which its own property sets as well
            if wandb.run is not None:  # an earlier job of this process left its run open
                wandb.finish()
            set_wandb_run_id(self, self._run_id())
            try:
                WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
            except wandb.Error as error:
                _LOG.warning(
                    "W&B is unavailable (%s): the run continues without it. logger.wandb.offline=true writes files for "
                    "`wandb sync`.",
                    " ".join(str(error).split()),
                )
                self._experiment = wandb.init(mode="disabled", dir=self.save_dir)
        return self._experiment

    def _run_id(self) -> str:
        """Return the stored id, or else that of `init`, of the W&B agent that runs the job, or a new one."""
        file = self._run.folder / "wandb-id"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            agent_id = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
            write_text(file, self._given_id or agent_id or uuid.uuid4().hex[:8])
        return file.read_text().strip()

    @rank_zero_only
    def log_results(self, results: Mapping[str, Any]) -> None:
        """Log the results of a finished run and end the W&B run."""
        experiment = self.experiment
        for name, metrics in results["sets"].items():
            experiment.summary.update({f"{name}/{key}": value for key, value in metrics.items()})
        experiment.summary.update({key: results[key] for key in ("parameters", "macs_256", "seconds", "steps")})
        self._log_table()
        if self._artifacts:
            self._log_checkpoints(results)
        wandb.finish()
        self._experiment = None

    def _log_table(self) -> None:
        """Log a table of the test images with their metrics, and with the image where a sample was kept."""
        with self._run.per_image_file.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            return
        samples = {path.stem.removeprefix("test_"): path for path in self._run.samples.glob("test_*.png")}
        columns = [*rows[0], "blurred | restored | sharp"]
        data = []
        for row in rows:
            sample = samples.get(row["image"].replace("/", "-"))
            cells = [row[key] if key in ("set", "image") else float(row[key] or "nan") for key in rows[0]]
            data.append([*cells, None if sample is None else wandb.Image(os.fspath(sample))])
        self.experiment.log({"test/images": wandb.Table(columns=columns, data=data)})

    @rank_zero_only
    def log_best_checkpoint(self, scores: Mapping[str, float]) -> None:
        """Upload the best checkpoint, which has just been written, if `log_model` is "all"."""
        if self._artifacts == "all":
            metrics = {f"val/{name}": value for name, value in scores.items()}
            self._log_checkpoint(self._run.best_checkpoint, "best", metrics)

    def _log_checkpoints(self, results: Mapping[str, Any]) -> None:
        metrics = {f"{name}/{key}": value for name, values in results["sets"].items() for key, value in values.items()}
        for alias, file in (("last", self._run.last_checkpoint), ("best", self._run.best_checkpoint)):
            if file.exists():
                self._log_checkpoint(file, alias, metrics)

    def _log_checkpoint(self, file: Path, alias: str, metrics: Mapping[str, Any]) -> None:
        artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", self._run.folder.name), "model", metadata=dict(metrics))
        artifact.add_file(os.fspath(file))
        self.experiment.log_artifact(artifact, aliases=[alias])


def _check_arguments(arguments: Mapping[str, Any], keys: set[str]) -> None:
    """Raise UserError if `logger.wandb.init` has an argument that neither W&B nor Lightning takes, or one of `keys`."""
    known = {*inspect.signature(wandb.init).parameters, *inspect.signature(WandbLogger).parameters} - {"kwargs"}
    for name in arguments:
        other = f"logger.wandb.{name}" if name in keys else _OF_OTHER_KEYS.get(name)
        if other is not None:
            raise UserError(f"logger.wandb.init.{name} can't be set: use {other}=")
        if name not in known:
            hint = did_you_mean(name, known - keys - _OF_OTHER_KEYS.keys())
            raise UserError(
                f"logger.wandb.init.{name} is no argument of wandb.init: "
                f"{hint or 'see https://docs.wandb.ai/ref/python/init'}"
            )
