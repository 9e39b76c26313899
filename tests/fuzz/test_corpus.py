"""Regression tests with the inputs that fuzzing found."""

from pathlib import Path

import pytest

from fuzz import targets

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("file", INPUTS, ids=[f"{file.parent.name}/{file.name}" for file in INPUTS])
def test_an_input_is_read_or_refused(file: Path) -> None:
    getattr(targets, file.parent.name)(file.read_bytes())
