"""Weights & Biases: one curve per run, however often it is resumed."""

import csv
import logging
import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger

from deblurlab.runs.folder import Run

_LOG = logging.getLogger(__name__)


class WandB(WandbLogger):
    """Lightning's logger in a run's folder: the run's id is kept in `wandb-id` there, so that a resumed training goes
    on with the same curves, and `log_results` adds the scores, a table of the test images with pictures, and the
    checkpoints.

    Where W&B can't be reached, or there is no account, it says so in one line and the run goes on with its local
    record.

    Args:
        folder: The run's.
        project: Of W&B; likewise `name`, `group` and `job_type`.
        offline: Write to the folder alone; `wandb sync` uploads later.
        artifacts: Upload the best and the last checkpoint when the run has finished.
    """

    def __init__(
        self,
        *,
        folder: str,
        project: str,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        offline: bool = False,
        artifacts: bool = True,
    ) -> None:
        settings = wandb.Settings(init_timeout=30, silent=True)
        super().__init__(
            name=name,
            project=project,
            save_dir=os.fspath(Path(folder).resolve()),  # the process that writes has a working folder of its own
            offline=offline,
            group=group,
            job_type=job_type,
            settings=settings,
        )
        self._run, self._artifacts = Run(Path(folder)), artifacts

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            if wandb.run is not None:  # of an earlier job in this process
                wandb.finish()
            self._wandb_init["id"] = self._identity()
            try:
                WandbLogger.experiment.fget(self)  # type: ignore[attr-defined]
            except wandb.Error as error:
                _LOG.warning(
                    "W&B can't be had (%s): the run goes on with its local record. logger.wandb.offline=true writes "
                    "for a later `wandb sync`.",
                    " ".join(str(error).split()),
                )
                self._experiment = wandb.init(mode="disabled", dir=self.save_dir)
        return self._experiment

    def _identity(self) -> str:
        """The run's id: the one it began with, or that an agent of W&B's has given it."""
        file = self._run.folder / "wandb-id"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            given = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
            file.write_text(given or uuid.uuid4().hex[:8])
        return file.read_text().strip()

    @rank_zero_only
    def log_results(self, results: Mapping[str, Any]) -> None:
        """Add what a finished run has found, and end it."""
        experiment = self.experiment
        for name, scores in results["sets"].items():
            experiment.summary.update({f"{name}/{key}": value for key, value in scores.items()})
        experiment.summary.update({key: results[key] for key in ("parameters", "macs_256", "seconds", "steps")})
        self._add_table()
        if self._artifacts:
            self._add_checkpoints(results)
        wandb.finish()
        self._experiment = None

    def _add_table(self) -> None:
        """Every test image with its scores, and its picture where one was kept."""
        with self._run.per_image_file.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            return
        pictures = {path.stem.removeprefix("test_"): path for path in self._run.samples.glob("test_*.png")}
        columns = [*rows[0], "blurred | restored | sharp"]
        data = []
        for row in rows:
            picture = pictures.get(row["image"].replace("/", "-"))
            cells = [row[key] if key in ("set", "image") else float(row[key] or "nan") for key in rows[0]]
            data.append([*cells, None if picture is None else wandb.Image(os.fspath(picture))])
        self.experiment.log({"test/images": wandb.Table(columns=columns, data=data)})

    def _add_checkpoints(self, results: Mapping[str, Any]) -> None:
        scores = {f"{name}/{key}": value for name, of in results["sets"].items() for key, value in of.items()}
        name = re.sub(r"[^\w.-]", "-", self._run.folder.name)
        for alias, file in (("last", self._run.last_checkpoint), ("best", self._run.best_checkpoint)):
            if file.exists():
                artifact = wandb.Artifact(name, "model", metadata=scores)
                artifact.add_file(os.fspath(file))
                self.experiment.log_artifact(artifact, aliases=[alias])
