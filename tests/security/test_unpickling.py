"""Pickles that try to run code, to change objects of the process or to take memory while they are unpickled."""

import io
import os
import pickle
import subprocess
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.checkpoints.unpickle import Ignored, Unpickler, build_tensors
from security.hostile import Call, Payload, bounded


def _unpickle(data: bytes, *, ignore_objects: bool = True) -> Any:
    content = Unpickler(io.BytesIO(data), 0, ignore_objects=ignore_objects).load()
    return build_tensors(content, lambda storage: torch.empty(0))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_ignored_objects_do_nothing(legacy: bool, protocol: int, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    content = {
        "weight": torch.ones(2),
        "open": Payload(canary),
        "calls": [
            Call(os.system, f"touch {canary}"), Call(eval, f"open({str(canary)!r}, 'w')"), Call(exec, "1"),
            Call(subprocess.Popen, ["touch", str(canary)]), Call(getattr, 1, "real"), Call(bytearray, 10**10),
            Call(torch.load, str(canary)), Call(__import__, "os"),
        ],
    }  # fmt: skip
    file = tmp_path / "a.pth"
    torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    with bounded():
        loaded = load_tensors(file, ignore_objects=True)
    assert loaded["weight"].tolist() == [1, 1]
    assert all(isinstance(value, Ignored) for value in (loaded["open"], *loaded["calls"]))
    assert not canary.exists()
    with pytest.raises(ValueError, match="it names .*, which no weights do"):
        load_tensors(file)
    assert not canary.exists()


def test_a_storage_is_not_called(tmp_path: Path) -> None:
    torch.save({"a": Call(torch.UntypedStorage, 10**12)}, tmp_path / "a.pth")
    with bounded(), pytest.raises(ValueError, match="it is damaged .*not callable"):
        load_tensors(tmp_path / "a.pth", ignore_objects=True)


NAMES = [
    b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n", b"ctorch\nSize\n", b"ctorch\nfloat32\n",
    b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n",
    b"ccollections\nOrderedDict\n)R",
    b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI0\ntQ",
    b"ctorch._utils\n_rebuild_tensor\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI0\ntQI0\n(I0\nt(I1\nttR",
]  # fmt: skip
"""Every kind of object that a name in a pickle gives."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", [b"(dS'__class__'\ncx\nY\ns", b"(N(dS'__class__'\ncx\nY\nst"])
@pytest.mark.parametrize("key", [b"__class__", b"function", b"__call__", b"dtype", b"items", b"__reduce__"])
def test_objects_of_the_process_are_not_changed(name: bytes, state: bytes, key: bytes) -> None:
    """BUILD sets attributes, of classes too."""
    before = {kind: dict(vars(kind)) for kind in (OrderedDict, Counter, torch.Size, Ignored, Unpickler)}
    try:
        built = _unpickle(name + state.replace(b"__class__", key) + b"b.")
    except (TypeError, AttributeError, ValueError):
        built = None
    assert {kind: dict(vars(kind)) for kind in before} == before
    if isinstance(built, OrderedDict):
        assert type(built) is OrderedDict
        assert vars(built) == {}


def test_results_hold_no_function() -> None:
    assert [type(value) for value in _unpickle(b"(ccollections\nOrderedDict\nctorch\nSize\nl.")] == [Ignored, Ignored]


def _memo() -> bytes:
    return b"}r\xff\xff\xff\x7f."


def _long_bytes() -> bytes:
    return b"\x80\x05\x96" + (10**10).to_bytes(8, "little") + b"."


def _copies() -> bytes:
    """Return copies of a list of 10,000 pairs by calls of a few bytes."""
    pairs = b"(" + b"".join(b"(I%d\nNt" % i for i in range(10_000)) + b"lp0\n0"
    return pairs + b"ccollections\nOrderedDict\np1\n0(" + b"g1\n(g0\ntR" * 5_000 + b"l."


def _classes() -> bytes:
    return b"(" + b"".join(b"ca\nb%d\n" % i for i in range(300_000)) + b"l."


@pytest.mark.parametrize("make", [_memo, _long_bytes, _copies, _classes])
def test_memory_is_bounded(make: Callable[[], bytes]) -> None:
    data = make()
    with bounded(), pytest.raises(ValueError, match=r"it |expected|exhausted"):
        _unpickle(data)


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((1 << 40,), (1,), 0), ((2,), (1 << 40,), 0), ((1,), (1,), 5), ((1,), (1,), -1)]
)
def test_views_outside_of_their_storage_are_refused(tmp_path: Path, size: Any, stride: Any, offset: int) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    storage = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI3\ntQ"
    view = b"".join(pickle.dumps(part, 0)[:-1].replace(b"p0\n", b"") for part in (offset, size, stride))
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
        for name, data in records.items():
            data = b"ctorch._utils\n_rebuild_tensor\n(" + storage + view + b"tR." if "data.pkl" in name else data
            archive.writestr(name, data)
    with bounded(), pytest.raises(ValueError, match=r"it is damaged \(.*\): download it again"):
        load_tensors(tmp_path / "b.pth")


def test_deep_and_shared_containers_take_no_time() -> None:
    nested: Any = []
    for _ in range(100):
        nested = [nested, nested]
    with bounded(5):
        built = _unpickle(pickle.dumps(nested))
        with pytest.raises(RecursionError):
            _unpickle(b"(" * 100_000 + b"l" * 100_000 + b".")
    assert built[0] is built[1]
