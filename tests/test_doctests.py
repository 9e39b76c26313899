"""The examples in the docstrings of losses and metrics run and give the values that they show."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from deblurlab import losses, metrics

MODULES = [
    module.name
    for package in (losses, metrics)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]
TERMS = [
    value
    for name in losses.__all__
    if issubclass(value := getattr(losses, name), losses.LossTerm) and not inspect.isabstract(value)
]
METRICS = [value for name in metrics.__all__ if callable(value := getattr(metrics, name))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_the_documented_values(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("subject", TERMS + METRICS, ids=lambda subject: subject.__name__)
def test_every_loss_and_metric_has_an_example(subject: object) -> None:
    tests = doctest.DocTestFinder(recurse=False).find(subject, subject.__name__)
    assert sum(len(test.examples) for test in tests) > 0
