"""Record of restored files, which a repeated command skips."""

import json
import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from deblurlab.batch.inputs import FileTask

JOURNAL = ".deblurlab.jsonl"
"""File in the output folder with one JSON line per restored file."""


class Journal:
    """Restored files of an output folder, with the size and time of their sources and a hash of the settings.

    Targets are stored relative to the folder, so the folder can be moved.

    Args:
        folder: Output folder.
        settings: Everything besides the source that determines the restored file.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._file = folder / JOURNAL
        self._settings = sha256(settings.encode()).hexdigest()

    def contains(self, task: FileTask) -> bool:
        """Return whether the target was restored from the same source with the same settings."""
        return self._read().get(self._key(task)) == self._record(task)

    def add(self, task: FileTask) -> None:
        """Append a restored file."""
        with self._file.open("a") as file:
            file.write(json.dumps({"target": self._key(task), **self._record(task)}) + "\n")

    def _key(self, task: FileTask) -> str:
        return os.path.relpath(task.target, self._file.parent)

    def _record(self, task: FileTask) -> dict[str, Any]:
        state = task.source.stat()
        return {
            "source": task.source.name,
            "size": state.st_size,
            "modified": state.st_mtime_ns,
            "settings": self._settings,
        }

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return the last record of each target."""
        records: dict[str, dict[str, Any]] = {}
        for line in self._file.read_text().splitlines() if self._file.is_file() else []:
            with suppress(ValueError, KeyError, TypeError, AttributeError):  # an interrupted process left half a line
                record = json.loads(line)
                records[record.pop("target")] = record
        return records
