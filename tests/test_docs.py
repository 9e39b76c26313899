"""Pages that a script makes are true."""

import re
import runpy
from pathlib import Path

import pytest

from deblurlab.config import compose as conf


def test_the_table_of_models_is_true_of_the_models() -> None:
    script = runpy.run_path(str(conf.CONF.parent / "benchmarks" / "models.py"))
    assert script["untrue"]() == []
    assert list(script["PUBLISHED"]) != []
    line = script["row"]("unet", seconds=None)
    assert script["blank"](line) != script["blank"](line.replace("4,730,211", "4,730,212"))


@pytest.mark.parametrize("page", sorted((conf.CONF.parent / "docs").glob("*.md")), ids=lambda path: path.name)
def test_what_pages_link_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
