"""Variables of a TensorFlow checkpoint in an `.npz` file, as weights for PyTorch. Never executes code."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurlab.checkpoints.file_kinds import OtherFileError, describe_other_file
from deblurlab.checkpoints.safe_load import damage_is_named, open_archive
from deblurlab.errors import list_first


def load_variables(path: Path) -> dict[str, Tensor]:
    """Load the numeric arrays of an `.npz` file that `np.savez` wrote.

    The kernels of convolutions are `(height, width, inputs, outputs)` in TensorFlow, those of transposed convolutions
    `(height, width, outputs, inputs)`; the result has PyTorch's order of dimensions.

    Raises:
        OSError: The file can't be read.
        MemoryError: There isn't enough memory.
        ValueError: The file is damaged or something else, is compressed, so that it could take more memory than its
            size, or holds pickled objects or numbers that PyTorch lacks. The message is one line with the remedy.
    """
    with path.open("rb") as file, damage_is_named():
        if (other := describe_other_file(path, file.read(512))) is not None:
            raise OtherFileError(other)
        with open_archive(file) as archive:
            _check_records(archive.infolist(), path)
        with np.load(path, allow_pickle=False) as arrays:
            variables = {name: _read_array(arrays, name) for name in arrays.files}
        return {name: _to_tensor(value) for name, value in _numbers(variables).items()}


def _check_records(records: Sequence[zipfile.ZipInfo], path: Path) -> None:
    if any(record.filename.endswith("data.pkl") for record in records):
        raise OtherFileError("it is an archive of torch.save: give it the suffix .pth")
    if not all(record.filename.endswith(".npy") for record in records):
        raise OtherFileError("it is a ZIP archive, but none of numpy.savez: unpack it, and give the file in it")
    if sum(record.file_size for record in records) > path.stat().st_size:
        raise OtherFileError("its arrays are compressed: write them with numpy.savez")


def _read_array(arrays: Mapping[str, Any], name: str) -> Any:
    try:
        return arrays[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise OtherFileError(f"it holds pickled objects ({list_first([name])}): write only numbers") from error


def _numbers(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of numbers, without texts, dates and masks.

    Raises:
        OtherFileError: Numbers are complex, or of a type that PyTorch lacks.
    """
    numbers = {name: value for name, value in variables.items() if value.dtype.kind in "fiucV"}
    if other := [name for name, value in numbers.items() if value.dtype.kind in "cV" or value.dtype.itemsize > 8]:
        kinds = ", ".join(sorted({str(numbers[name].dtype) for name in other}))
        raise OtherFileError(f"its arrays are of the type {kinds} ({list_first(other)}): write them as float32")
    return numbers


def _to_tensor(value: Any) -> Tensor:
    native = value.astype(value.dtype.newbyteorder("="))
    return torch.from_numpy(native.transpose(3, 2, 0, 1).copy() if native.ndim == 4 else native)
