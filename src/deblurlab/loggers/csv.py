"""Logger that writes all logged values of a run to one CSV file."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from deblurlab.runs.files import atomic_write


class MetricsCSV(Logger):
    """CSV file with the columns `step`, `epoch` and the logged names in the order of their first value.

    A resumed run continues the file; `rewind` drops the rows after a step. Lightning's CSVLogger starts the file anew.

    Args:
        path: Path of the file.
    """

    def __init__(self, *, path: str) -> None:
        super().__init__()
        self._path = Path(path)
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Empty: there is one file per run."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's folder has the config already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; new names become columns."""
        self._load_columns()
        row = {"step": step, **metrics}
        new = [name for name in row if name not in self._columns]
        if new:
            rows = self._read()[1] if self._path.exists() else []
            self._columns += new
            self._write(rows)
        elif not self._path.exists():
            self._write([])
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    @rank_zero_only
    def rewind(self, step: int, *, validated: bool = True, logged: Mapping[str, float] | None = None) -> None:
        """Delete the rows after a step, and incomplete rows.

        Args:
            step: Last step to keep.
            validated: Keep the step's validation.
            logged: Values of the step's training, which are written if they are missing.
        """
        if self._path.exists():
            self._load_columns()
            rows = [row for row in self._read()[1] if row["step"].isdecimal() and None not in row.values()]
            last = step if validated else step - 1
            kept = [row for row in rows if int(row["step"]) <= (last if _is_validation(row) else step)]
            self._write(kept)
            if logged and not any(row["step"] == str(step) for row in kept):
                self.log_metrics(dict(logged), step)

    def _load_columns(self) -> None:
        """Read the columns at the first write; the constructor runs before `fresh=true` deletes the run."""
        if not self._columns:
            self._columns = self._read()[0] if self._path.exists() else ["step", "epoch"]

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        with self._path.open(newline="") as file:
            reader = csv.DictReader(file)
            return list(reader.fieldnames or []), list(reader)

    def _write(self, rows: list[dict[str, str]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._path, newline="", fsync=False) as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def _is_validation(row: dict[str, str]) -> bool:
    return any(value and name.startswith("val/") for name, value in row.items())
