"""Which targets a config may name, with Hydra's execution whitelist where it exists."""

import os
import re
import sys
from collections.abc import Iterator, Set
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from deblurlab._compat import hydra_version_base, separate_hydra_state
from deblurlab.config import CONF, compose, find_target, instantiate, register
from deblurlab.errors import UserError
from deblurlab.losses import L1

needs_whitelist = pytest.mark.skipif(not hasattr(hydra.utils, "execution_whitelist"), reason="needs Hydra 1.4")
COUNTER = {"_target_": "collections.Counter", "a": 2}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[None]:
    """State of a Hydra job whose user has a folder of terms; one of them, and one override, name classes."""
    for file, target in (("loss/own.yaml", "mine.Loss"), ("runs/other/config.yaml", "theirs.Loss")):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(f'own: {{"_target_": "{target}", weight: 1}}\n')
    register()
    overrides = [
        f"hydra.searchpath=[file://{tmp_path}]", "loss=own", "run=none", "+loss.two._target_=collections.Counter",
        "+loss.two.weight=${seed}", "augment.degradations=[{_target_:mine.Noise,p:1.0}]",
    ]  # fmt: skip
    before = HydraConfig.instance().cfg
    with separate_hydra_state(), hydra.initialize_config_dir(str(CONF), **hydra_version_base()):
        HydraConfig.instance().set_config(hydra.compose("train", overrides=overrides, return_hydra_config=True))
    yield
    HydraConfig.instance().cfg = before


def _given_whitelist(monkeypatch: pytest.MonkeyPatch, *, named: Set[str] = frozenset()) -> set[str]:
    """Return the targets outside of the trusted packages that `instantiate` allows, with any version of Hydra."""
    given: list[list[str]] = []
    monkeypatch.setattr("deblurlab.config.instantiation.hydra_execution_whitelist", lambda x: given.append(x) or {})
    monkeypatch.setattr("deblurlab.config.instantiation._named_in_python", named)
    instantiate({"_target_": "deblurlab.losses.L1"})
    return {target for target in given[0] if not target.endswith(".*")}


@pytest.mark.usefixtures("job")
def test_targets_that_the_user_names_are_allowed_and_those_of_run_folders_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _given_whitelist(monkeypatch) == {"mine.Loss", "mine.Noise", "collections.Counter"}


def test_without_a_job_only_trusted_packages_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    assert _given_whitelist(monkeypatch) == set()


def test_targets_in_a_composed_config_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, target in (("loss/own.yaml", "mine.Loss"), ("runs/other/config.yaml", "theirs.Loss")):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(f"own: {{_target_: {target}}}")
    named: set[str] = set()
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    monkeypatch.setattr("deblurlab.config.instantiation._named_in_python", named)
    compose("loss=own", "model._target_=mine.Model", config_dirs=[tmp_path])
    assert named == {"mine.Loss", "mine.Model"}
    assert _given_whitelist(monkeypatch, named=named) == named


@needs_whitelist
def test_an_unnamed_target_is_refused_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    monkeypatch.setattr("deblurlab.config.instantiation._named_in_python", set())
    for call in (instantiate, find_target):
        with pytest.raises(InstantiationException, match=r"collections\.Counter"):
            call(COUNTER)
        with pytest.raises(InstantiationException, match="no_such_module"):
            call({"_target_": "no_such_module.Loss"})
        with pytest.raises(InstantiationException, match=r"torch\.load"):
            call({"_target_": "torch.load", "f": "x"})
        with pytest.raises(InstantiationException, match=r"system"):
            call({"_target_": "deblurlab.runs.folder.os.system", "command": "false"})


@needs_whitelist
@pytest.mark.usefixtures("job")
def test_a_target_of_an_override_is_called() -> None:
    assert instantiate(COUNTER) == {"a": 2}


def test_find_target_does_not_call_the_target() -> None:
    assert find_target({"_target_": "deblurlab.losses.L1", "no_such_argument": 1}) is L1


def _shipped_targets() -> set[str]:
    """Return the targets of conf, except those of plugins, which Hydra itself instantiates."""
    texts = [re.sub("#.*", "", file.read_text()) for file in CONF.rglob("*.yaml")]
    found = {target for text in texts for target in re.findall(r"_target_: *([\w.]+)", text)}
    return {target for target in found if not target.startswith("hydra_plugins.")}


def test_every_shipped_target_can_be_found() -> None:
    targets = _shipped_targets()
    assert len(targets) > 80
    assert [target for target in sorted(targets) if not callable(find_target({"_target_": target}))] == []


PACKAGE = {
    "__init__": "",
    "terms": "class LogCosh:\n    scale = 1\n",
    "needs": "import math\nimport no_such_dependency\n",
    "raising": "limits = [1]\nlimits[3]\n",
    "attribute": "import math\nclass LogCosh(math.LogCosh): ...\n",
    "syntax": "def f(:\n",
}
FAILING = {
    "own_targets_2.terms.LogCosh": "there is no module own_targets_2; is PYTHONPATH set?",
    "own_targets.nope.LogCosh": "own_targets ({}__init__.py) has no nope; is PYTHONPATH set?",
    "own_targets.terms.LogCosch": "own_targets.terms ({}terms.py) has no LogCosch; is it LogCosh?",
    "own_targets.terms.Charbonnier": "own_targets.terms ({}terms.py) has no Charbonnier",
    "own_targets.terms.LogCosh.nope": "own_targets.terms.LogCosh has no nope",
    "own_targets.needs.LogCosh": "ModuleNotFoundError: No module named 'no_such_dependency' ({}needs.py, line 2)",
    "own_targets.raising.LogCosh": "IndexError: list index out of range ({}raising.py, line 2)",
    "own_targets.attribute.LogCosh": "module 'math' has no attribute 'LogCosh' ({}attribute.py, line 2)",
    "own_targets.syntax.LogCosh": "SyntaxError: invalid syntax (syntax.py, line 1)",
    "deblurlab.losses.Charbonier": "has no Charbonier; is it Charbonnier?",
    "own_targets..LogCosh": "isn't the name of a class or a function, such as torch.optim.Adam",
}
"""Targets, and the end of the message: a missing module, a wrong name in a module, an error while it is imported."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the package `own_targets` and allow all its names; return its folder."""
    (tmp_path / "own_targets").mkdir()
    for name, code in PACKAGE.items():
        (tmp_path / "own_targets" / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        "deblurlab.config.instantiation._named_in_python",
        {"own_targets.*", "own_targets_2.*", "importlib.metadata.version"},
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_targets"]:
        monkeypatch.delitem(sys.modules, name)
    return f"{tmp_path / 'own_targets'}{os.sep}"


@pytest.mark.parametrize("target", FAILING)
@pytest.mark.parametrize("nested", [False, True])
def test_a_target_that_cannot_be_imported_is_explained(target: str, nested: bool, package: str) -> None:
    node = {"_target_": target}
    with pytest.raises(UserError) as caught:
        instantiate(OmegaConf.create({"a": [node]}) if nested else node)
    message = str(caught.value)
    assert message.startswith(f"_target_: {target} ")
    assert message.endswith(FAILING[target].format(package))
    assert "\n" not in message


@pytest.mark.usefixtures("package")
def test_an_import_error_in_a_constructor_is_not_taken_for_a_missing_target() -> None:
    with pytest.raises(InstantiationException, match="no_such_dependency"):
        instantiate({"_target_": "importlib.metadata.version", "distribution_name": "no_such_dependency"})
