"""Untrusted checkpoints and weights of other projects."""

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from deblurlab.checkpoints.convert import convert
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.pretrained import read_weights
from deblurlab.errors import UserError
from security.hostile import Call, Payload, bounded

Read = Callable[[Path], Any]
READERS: dict[str, Read] = {
    "checkpoint": read_checkpoint,
    "pretrained": lambda path: read_weights(str(path), "", key="loss.vgg.weights"),
    "converted": lambda path: convert(path, "unet_res", path.with_name("released")),
}
every_reader = pytest.mark.parametrize("reader", READERS)


def _refused(reader: str, file: Path, message: str = "") -> None:
    """Assert that reading raises a UserError that names the file, within bounds and without executing anything."""
    with bounded(), pytest.raises(UserError, match=rf"{file.name}.*{message}"):
        READERS[reader](file)
    assert not (file.parent / "canary").exists()
    assert not (file.parent / "released").exists()


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Import the modules that the first conversion needs, so that they don't count as memory of the files."""
    with pytest.raises(UserError):
        convert(Path(__file__), "unet_res", Path("missing"))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "place", ["", "state_dict", "optimizer_states", "callbacks", "hyper_parameters", "record", "loops"]
)
@every_reader
def test_a_payload_at_any_key_does_not_run(reader: str, place: str, legacy: bool, tmp_path: Path) -> None:
    payload: Any = Payload(tmp_path / "canary")
    content = {"state_dict": {"generator.x": torch.zeros(1)}, place: {"x": [payload]}} if place else payload
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=not legacy)
    _refused(reader, tmp_path / "x.ckpt")


@every_reader
def test_a_plain_pickle_does_not_run(reader: str, tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "x.ckpt").write_bytes(pickle.dumps(Payload(tmp_path / "canary"), protocol))
        _refused(reader, tmp_path / "x.ckpt")


@pytest.mark.parametrize("name", ["posix\nsystem", "builtins\neval", "torch.hub\nload", "torch\nload", "os\nopen"])
@every_reader
def test_a_persistent_id_names_no_function(reader: str, name: str, tmp_path: Path) -> None:
    storage = b"(X\x07\x00\x00\x00storagec" + name.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ."
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + storage)
        archive.writestr("x/version", "3\n")
        archive.writestr("x/data/0", bytes(4))
    _refused(reader, tmp_path / "x.ckpt")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@every_reader
def test_plain_data_of_torch_allocates_no_gigabytes(reader: str, legacy: bool, tmp_path: Path) -> None:
    content = {"state_dict": {}, "x": Call(bytearray, 1 << 30)}
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=not legacy)
    _refused(reader, tmp_path / "x.ckpt")


@every_reader
def test_records_are_checked_whatever_the_case_of_their_names(reader: str, tmp_path: Path) -> None:
    """torch.load reads data.PKL as data.pkl."""
    torch.save({"state_dict": {}, "x": Call(bytearray, 1 << 29)}, tmp_path / "x.ckpt")
    file = _rezipped(tmp_path / "x.ckpt", rename=lambda name: name.replace("data.pkl", "data.PKL"))
    _refused(reader, file, "holds no state dict" if reader == "converted" else "bytearray")


@every_reader
def test_two_records_with_the_same_name_are_refused(reader: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}}, tmp_path / "x.ckpt")
    with zipfile.ZipFile(tmp_path / "x.ckpt", "a") as archive:
        archive.writestr("x/DATA.pkl", b"\x80\x02}.")
    _refused(reader, tmp_path / "x.ckpt", "two of its records have the same name")


@every_reader
def test_a_legacy_file_without_the_bytes_of_its_storages_is_refused(reader: str, tmp_path: Path) -> None:
    """torch doesn't check the claimed sizes, and reads as many storages as the last pickle lists: none."""
    content = {"state_dict": {"generator.x": torch.zeros(1 << 20)}}
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.ckpt").read_bytes()[: -(4 << 20) - 8]
    keys = data.rindex(b"\x80\x02]")
    (tmp_path / "x.ckpt").write_bytes(data[:keys] + pickle.dumps([], 2))
    _refused(reader, tmp_path / "x.ckpt", "claims more bytes than it has")


@pytest.mark.parametrize("place", ["_target_", "width"])
def test_error_messages_do_not_expand_nested_lists(place: str, tmp_path: Path) -> None:
    nested: list[Any] = ["x"]
    for _ in range(40):
        nested = [nested, nested]
    model = {"_target_": "deblurlab.models.UNetRes", place: nested if place == "_target_" else [nested]}
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}, "record": {"model": model}}, tmp_path / "x.ckpt")
    with bounded(), pytest.raises(UserError, match="x.ckpt") as raised:
        load_model(tmp_path / "x.ckpt")
    assert len(str(raised.value)) < 500


def test_a_view_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"head.weight": torch.zeros(1).expand(10**9, 10**3)}, tmp_path / "x.ckpt")
    _refused("converted", tmp_path / "x.ckpt", "doesn't fit model=unet_res")


@every_reader
def test_a_storage_larger_than_its_record_is_refused(reader: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}}, tmp_path / "x.ckpt")

    def inflate(name: str, data: bytes) -> bytes:
        return re.sub(
            rb"(cpuq.)K\x01", lambda found: found[1] + b"J\xff\xff\xff\x0f", data
        )  # a storage of 2**28 elements

    file = _rezipped(tmp_path / "x.ckpt", inflate)
    assert b"J\xff\xff\xff\x0f" in file.read_bytes()
    _refused(reader, file)


def _rezipped(
    file: Path, change: Callable[[str, bytes], bytes] = lambda name, data: data,
    rename: Callable[[str], str] = lambda name: name, **options: Any,
) -> Path:  # fmt: skip
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in records.items():
            archive.writestr(rename(name), change(name, data))
    return file


@pytest.fixture(scope="module")
def inflating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of 256 MiB in a compressed archive, more than `bounded` allows."""
    file = tmp_path_factory.mktemp("inflating") / "x.ckpt"
    torch.save({"state_dict": {"generator.x": torch.zeros(1 << 26)}}, file)
    return _rezipped(file, compression=zipfile.ZIP_DEFLATED, compresslevel=1)


@every_reader
def test_records_that_inflate_are_refused(reader: str, inflating: Path) -> None:
    assert inflating.stat().st_size < 2e6
    _refused(reader, inflating)


@every_reader
def test_overlapping_records_are_refused(reader: str, tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {"generator.x": torch.zeros(4096), "generator.y": torch.zeros(4096)}}, tmp_path / "x.ckpt"
    )
    file = tmp_path / "x.ckpt"
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        one, two = (archive.getinfo(next(n for n in archive.namelist() if n.endswith(f"data/{i}"))) for i in (0, 1))
        start = archive.start_dir
    at = data.index(struct.pack("<L", two.header_offset), start)
    data[at : at + 4] = struct.pack("<L", one.header_offset)
    name = data.index(two.filename.encode(), start)
    data[name : name + len(two.filename)] = one.filename.encode()
    file.write_bytes(data)
    _refused(reader, file)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@every_reader
def test_a_truncated_file_is_refused(reader: str, share: float, tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"state_dict": {"generator.x": torch.zeros(500)}}, content)
    (tmp_path / "x.ckpt").write_bytes(content.getvalue()[: int(share * len(content.getvalue()))])
    _refused(reader, tmp_path / "x.ckpt")


def test_a_flipped_bit_in_a_checkpoint_is_detected(tmp_path: Path) -> None:
    torch.save({"state_dict": {"generator.x": torch.full((500,), 7.0)}}, file := tmp_path / "x.ckpt")
    data = bytearray(file.read_bytes())
    data[data.index(struct.pack("<f", 7.0) * 9)] ^= 1
    file.write_bytes(data)
    _refused("checkpoint", file)


@pytest.mark.parametrize(
    "model",
    [
        {"_target_": "os.system", "command": "touch canary"},
        {"_target_": "deblurlab.models.UNetRes", "width": {"_target_": "os.system", "command": "touch canary"}},
        {"_target_": "deblurlab.models.UNetRes", "blocks": [{"_target_": "os.system", "command": "touch canary"}]},
        {"_target_": "deblurlab.models.UNetRes", "_args_": [1]},
        {"_target_": "deblurlab.models.UNetRes", "_partial_": True},
        {"_target_": "deblurlab.models.UNetRes", "width": "${oc.env:HOME}"},
        {"_target_": "deblurlab.models.UNetRes", "width": 10**9},
        {"_target_": "deblurlab.models.UNetRes", "depth": 10**9},
        {"_target_": "deblurlab.models.base.Model"},
        {"_target_": "deblurlab.serving.service.RestoreService", "restorers": {}, "limits": 1},
        {"_target_": ["os.system"]},
        None,
        7,
    ],
    ids=str,
)
def test_a_record_with_more_than_a_model_is_refused(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}, "record": {"model": model}}, tmp_path / "x.ckpt")
    with bounded(), pytest.raises(UserError, match="x.ckpt"):
        load_model(tmp_path / "x.ckpt")
    assert not Path("canary").exists()
