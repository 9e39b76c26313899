"""Untrusted ONNX files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblurlab.errors import UserError
from deblurlab.inference.onnx_engine import OnnxRuntime

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SHAPE = [1, 3, "height", "width"]


def _model(path: Path, about: str | None = None, *, tensor: Any = None, nested: bool = False) -> Path:
    """Write a network that adds a constant to its image, with the metadata of deblurlab."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    added = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "added") if tensor is None else tensor
    image, restored = (helper.make_tensor_value_info(name, float32, SHAPE) for name in ("image", "restored"))
    constant = [helper.make_node("Constant", [], ["added"], value=added)] if nested else []
    nodes = [*constant, helper.make_node("Add", ["image", "added"], ["restored"])]
    graph = helper.make_graph(nodes, "graph", [image], [restored], [] if nested else [added])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if about is not None:
        helper.set_model_props(model, {"deblurlab": about})
    path.write_bytes(model.SerializeToString())
    return path


def test_an_intact_model_is_read(tmp_path: Path) -> None:
    engine = OnnxRuntime(_model(tmp_path / "x.onnx", '{"multiple_of": 8, "reach": 16, "smallest": 9, "half": false}'))
    assert (engine.multiple_of, engine.receptive_radius) == (8, 16)
    assert OnnxRuntime(_model(tmp_path / "x.onnx")).multiple_of == 32


@pytest.mark.parametrize("nested", [False, True], ids=["initializer", "attribute"])
@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "inside.bin", "*/_ORT_MEM_ADDR_/*"])
def test_external_weights_are_refused(place: str, nested: bool, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for secret in (tmp_path / "secret.bin", tmp_path / "models" / "inside.bin"):
        secret.write_bytes(bytes(4))
    tensor = onnx.TensorProto(name="added", data_type=onnx.TensorProto.FLOAT, dims=[1], data_location="EXTERNAL")
    for key, value in (("location", place), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    file = _model(tmp_path / "models" / "x.onnx", tensor=tensor, nested=nested)
    with pytest.raises(UserError, match="x.onnx keeps weights in another file"):
        OnnxRuntime(file)


@pytest.mark.parametrize(
    "about",
    ["{", "[]", "7", "null", "[" * 100_000, '{"multiple_of": 1000000000}', '{"multiple_of": 0}', '{"multiple_of": -8}',
     '{"multiple_of": "8"}', '{"multiple_of": null}', '{"multiple_of": 8.5}', '{"multiple_of": true}', '{"reach": -1}',
     '{"reach": 1000000000}', '{"reach": "x"}', '{"smallest": 1000000000}', '{"smallest": 0}', '{"smallest": [1]}',
     '{"multiple_of": 1e999}', '{"multiple_of": NaN}'],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_invalid_metadata_are_refused(about: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="x.onnx has (invalid|unreadable) metadata"):
        OnnxRuntime(_model(tmp_path / "x.onnx", about))


@pytest.mark.parametrize("content", [b"", b"\x00", b"[" * 1000, b"\x80\x04K\x01.", b"\x3a" + b"\xff" * 9 + b"\x01"])
def test_a_file_without_a_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(UserError, match="x.onnx"):
        OnnxRuntime(tmp_path / "x.onnx")


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    data = _model(tmp_path / "x.onnx").read_bytes()
    (tmp_path / "x.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="x.onnx can't be read as an ONNX model"):
        OnnxRuntime(tmp_path / "x.onnx")


def test_a_custom_operator_is_refused(tmp_path: Path) -> None:
    model = onnx.load(_model(tmp_path / "x.onnx"))
    model.graph.node[0].op_type, model.graph.node[0].domain = "PyOp", "ai.onnx.contrib"
    model.opset_import.add(domain="ai.onnx.contrib", version=1)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="x.onnx can't be read as an ONNX model"):
        OnnxRuntime(tmp_path / "x.onnx")
