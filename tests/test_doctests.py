"""The examples in docstrings run and give the values that they show; every loss and metric has one."""

import doctest
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import deblurlab
from deblurlab import losses, metrics

ROOT = Path(deblurlab.__file__).parent
MODULES = [
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(ROOT.rglob("*.py"))
    if ">>>" in file.read_text()
]
TERMS = [
    value
    for name in dir(losses)
    if issubclass(value := getattr(losses, name), losses.LossTerm) and not inspect.isabstract(value)
]
METRICS = [value for name in dir(metrics) if callable(value := getattr(metrics, name))]


def test_modules_with_examples_are_found() -> None:
    assert {name.split(".")[1] for name in MODULES} >= {"config", "errors", "losses", "metrics", "runs"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_the_documented_values(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("subject", TERMS + METRICS, ids=lambda subject: subject.__name__)
def test_every_loss_and_metric_has_an_example(subject: Any) -> None:
    tests = doctest.DocTestFinder(recurse=False).find(subject, subject.__name__)
    assert sum(len(test.examples) for test in tests) > 0
