"""Pages that a script makes are true."""

import runpy

from deblurlab import conf


def test_the_table_of_models_is_true_of_the_models() -> None:
    script = runpy.run_path(str(conf.CONF.parent / "benchmarks" / "models.py"))
    assert script["untrue"]() == []
    assert list(script["PUBLISHED"]) != []
    line = script["row"]("unet", seconds=None)
    assert script["blank"](line) != script["blank"](line.replace("4,730,211", "4,730,212"))
