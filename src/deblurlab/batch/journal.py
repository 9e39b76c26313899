"""Record of restored files, which a repeated command skips."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

from deblurlab.batch.inputs import FileTask
from deblurlab.errors import UserError

JOURNAL = ".deblurlab.jsonl"
"""File in the output folder with one JSON line per restored file."""


class Journal:
    """Restored files of an output folder, with size and time of their sources, settings and what was not kept.

    Targets are stored relative to the folder, so the folder can be moved. Several processes may append to the record.

    Args:
        folder: Output folder.
        settings: Everything besides the source that determines the restored file.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._file = folder / JOURNAL
        self._settings = sha256(settings.encode()).hexdigest()
        self._records: dict[str, dict[str, Any]] = {}
        """Last record of each target."""
        self._position = 0
        """Number of bytes of the file that were read."""
        self._reading = Lock()

    def contains(self, task: FileTask) -> bool:
        """Return whether the target was restored from the same source with the same settings."""
        self._read()
        return self._records.get(self._key(task)) == self._record(task)

    def add(self, task: FileTask, not_kept: Sequence[str] = ()) -> None:
        """Append a restored file.

        Args:
            task: The file.
            not_kept: Names of what the source holds and the restored file doesn't.

        Raises:
            UserError: The record can't be written. The restored file is complete.
        """
        record = {"target": self._key(task), **self._record(task), "not_kept": list(not_kept)}
        try:
            with self._file.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise UserError(
                f"{self._file} can't be written ({error.strerror}): the files are restored, but the same command "
                f"won't skip them"
            ) from error

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

    def _read(self) -> None:
        """Read what this process and others have appended since the last call."""
        if not self._file.is_file():
            return
        with self._reading, self._file.open("rb") as file:
            file.seek(self._position)
            content = file.read()
            self._position += content.rfind(b"\n") + 1  # half a line is read again when it is complete
            for line in content.splitlines():
                # An interrupted process left half a line.
                with suppress(ValueError, KeyError, TypeError, AttributeError):
                    record = json.loads(line)
                    record.pop("not_kept", None)
                    self._records[record.pop("target")] = record
