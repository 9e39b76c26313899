"""Variables of a TensorFlow checkpoint in an `.npz` file, as weights for PyTorch. Never executes code."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurlab.checkpoints.file_kinds import describe_other_file


def load_variables(path: Path) -> dict[str, Tensor]:
    """Load the numeric arrays of an `.npz` file that `np.savez` wrote.

    The kernels of convolutions are `(height, width, inputs, outputs)` in TensorFlow, those of transposed convolutions
    `(height, width, outputs, inputs)`; the result has PyTorch's order of dimensions.

    Raises:
        OSError: The file can't be read.
        ValueError: The file is something else, is compressed, so that it could take more memory than its size, or
            holds pickled objects.
        Exception: Any other error of NumPy for a damaged or hostile file.
    """
    with path.open("rb") as file:
        if (other := describe_other_file(file.read(512))) is not None:
            raise ValueError(other)
    with zipfile.ZipFile(path) as archive:
        if sum(record.file_size for record in archive.infolist()) > path.stat().st_size:
            raise ValueError("its arrays are compressed: write them with numpy.savez")
    with np.load(path, allow_pickle=False) as arrays:
        variables = {name: arrays[name] for name in arrays.files}
    return {
        name: torch.from_numpy(value.transpose(3, 2, 0, 1).copy() if value.ndim == 4 else value)
        for name, value in variables.items()
        if value.dtype.kind in "fiu"
    }
