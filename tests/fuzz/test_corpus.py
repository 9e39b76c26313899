"""What fuzzing has found worth keeping is tried again, without a fuzzer."""

from pathlib import Path

import pytest

from fuzz import targets

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("file", INPUTS, ids=[f"{file.parent.name}/{file.name}" for file in INPUTS])
def test_reading_it_gives_what_it_holds_or_a_message(file: Path) -> None:
    getattr(targets, file.parent.name)(file.read_bytes())
