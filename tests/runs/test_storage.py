"""Storage of results in a folder."""

from pathlib import Path

import pytest

from deblurlab.errors import UserError
from deblurlab.runs.storage import Folder


def test_a_key_with_a_path_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    store = Folder(tmp_path / "out")
    for key in ("../x.png", "/tmp/x.png", "a/../../x.png"):
        with pytest.raises(UserError, match="would be written outside of"):
            store.put(tmp_path / "file", key)
    store.put(tmp_path / "file", "a/b.png")
    assert list(store.keys()) == ["a/b.png"]
