"""Parsing of untrusted JSON, YAML and paths."""

from pathlib import Path

import pytest

from deblurlab.errors import UserError
from deblurlab.runs.untrusted import (
    is_inside,
    is_safe_relative_path,
    is_trusted,
    parse_json,
    read_yaml,
    trusted_names,
)


def test_json_is_parsed_or_refused() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [1]\nb: *x", "an anchor or a tag"),
        ("!!python/object/apply:os.system [true]", "an anchor or a tag"),
        ("[" * 40 + "]" * 40, "nested too deeply"),
        ("#" + "x" * 2**20, "it has 1 MB"),
        ("a: [", "while parsing"),
    ],
    ids=["anchor", "tag", "depth", "size", "syntax"],
)
def test_yaml_that_no_run_writes_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=f"config.yaml can't be read as a run's YAML: .*{message}"):
        read_yaml(tmp_path / "config.yaml")


def test_interpolations_stay_text(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: ${oc.env:HOME}\nb: [1]\n")
    assert read_yaml(tmp_path / "config.yaml") == {"a": "${oc.env:HOME}", "b": [1]}


@pytest.mark.parametrize(
    ("name", "safe"),
    [("a/b.png", True), ("a/..b", True), ("../a", False), ("a/../b", False), ("/a", False), ("", False), (".", False),
     ("a\0b", False)],
)  # fmt: skip
def test_relative_paths(name: str, safe: bool) -> None:
    assert is_safe_relative_path(name) is safe


def test_links_are_resolved(tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "in").symlink_to(folder / "a")
    assert [is_inside(folder / name, folder) for name in ("a", "in", "out", "a\0b")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("target", "trusted"),
    [("mine", True), ("mine.Net", True), ("mine.nets.Net", True), ("mines.Net", False), ("other.mine.Net", False),
     ("", False), (".mine", False), ("a.Net", True), ("a.Net2", False), ("a", False)],
)  # fmt: skip
def test_a_name_is_trusted_itself_or_by_its_package(target: str, trusted: bool) -> None:
    assert is_trusted(target, ["mine", "a.Net"]) is trusted


def test_trusted_names_come_from_arguments_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBLURLAB_TRUST", raising=False)
    assert trusted_names() == []
    assert trusted_names("mine.Net") == ["mine.Net"]
    monkeypatch.setenv("DEBLURLAB_TRUST", " a ,,b.C,")
    assert trusted_names(["mine"]) == ["mine", "a", "b.C"]
    monkeypatch.setenv("DEBLURLAB_TRUST", "a;b")
    with pytest.raises(UserError, match="trust='a;b' isn't the name of a package or class"):
        trusted_names()
