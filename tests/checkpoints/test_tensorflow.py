"""TensorFlow's variables in `.npz` files."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deblurlab.checkpoints.tensorflow import load_variables


def test_kernels_get_the_order_of_pytorch(tmp_path: Path) -> None:
    kernel = np.arange(3 * 2 * 4 * 5, dtype=np.float32).reshape(3, 2, 4, 5)  # height, width, inputs, outputs
    arrays = {"a/weights": kernel, "a/biases": np.arange(5.0), "step": np.int64(7), "graph": np.bytes_(b"proto")}
    np.savez(tmp_path / "a.npz", **arrays)
    loaded = load_variables(tmp_path / "a.npz")
    assert loaded.keys() == {"a/weights", "a/biases", "step"}
    weights = loaded["a/weights"]
    assert (weights.shape, weights.dtype, weights.is_contiguous()) == ((5, 4, 3, 2), torch.float32, True)
    assert all(weights[o, i, y, x] == kernel[y, x, i, o] for y, x, i, o in np.ndindex(kernel.shape))
    assert loaded["a/biases"].tolist() == [0, 1, 2, 3, 4]
    assert loaded["step"] == 7


class Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def test_hostile_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("pickled.npz", a=np.array([Payload()], dtype=object))
    np.savez_compressed("compressed.npz", a=np.zeros(1 << 20))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 60,)})
    with zipfile.ZipFile("inflated.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue() + bytes(16))
    np.savez("truncated.npz", a=np.zeros(1000))
    Path("truncated.npz").write_bytes(Path("truncated.npz").read_bytes()[:5000])
    for name, error in (
        ("pickled", (ValueError, r"^it holds pickled objects \(a\): write only numbers$")),
        ("compressed", (ValueError, "^its arrays are compressed: write them with numpy.savez$")),
        ("inflated", (MemoryError, "Unable to allocate")),
        ("truncated", (ValueError, "^it is incomplete: download it again, or use an earlier checkpoint$")),
    ):
        with pytest.raises(error[0], match=error[1]):
            load_variables(Path(f"{name}.npz"))
    assert not Path("executed").exists()


def test_numbers_that_pytorch_lacks_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, b=np.ones(2), **{"a/w": np.ones(3, np.complex64)})
    with pytest.raises(ValueError, match=r"^its arrays are of the type complex64 \(a/w\): write them as float32$"):
        load_variables(file)
    np.savez(file, a=np.zeros(2, "V2"))  # V2 is bfloat16 without its package
    with pytest.raises(ValueError, match=r"^its arrays are of the type \|V2 \(a\): write them as float32$"):
        load_variables(file)
    np.savez(file, a=np.array([1, 2], ">f4"), text=np.array(["x"]))
    assert {name: value.tolist() for name, value in load_variables(file).items()} == {"a": [1, 2]}


def test_other_archives_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    torch.save({"a": torch.ones(2)}, file)
    with pytest.raises(ValueError, match=r"^it is an archive of torch\.save: give it the suffix \.pth$"):
        load_variables(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ValueError, match=r"^it is a ZIP archive, but none of numpy\.savez: unpack it"):
        load_variables(file)
    np.savez(file, a=np.ones(999))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    message = r"^it is damaged \(Bad CRC-32 for file 'a\.npy'\): download it again, or use an earlier checkpoint$"
    with pytest.raises(ValueError, match=message):
        load_variables(file)
