"""Lightning plugin that reads and writes checkpoints as `deblurlab.checkpoints.io` does."""

import os
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from deblurlab.checkpoints.io import read_checkpoint, write_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint files that are written atomically, and read without executing code.

    Raises:
        UserError: On saving: the disk is full or the folder can't be written. On loading: the file is damaged or holds
            more than tensors and plain data.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint, see `write_checkpoint`."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Return a checkpoint's content on the CPU, see `read_checkpoint`."""
        return read_checkpoint(Path(path))
