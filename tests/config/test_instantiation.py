"""Which targets a config may name, with Hydra's execution whitelist where it exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException

from deblurlab._compat import hydra_version_base, separate_hydra_state
from deblurlab.config import CONF, find_target, instantiate, register
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


def _given_whitelist(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the targets outside of the trusted packages that `instantiate` allows, with any version of Hydra."""
    given: list[list[str]] = []
    monkeypatch.setattr("deblurlab.config.instantiation.hydra_execution_whitelist", lambda x: given.append(x) or {})
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


@needs_whitelist
def test_an_unnamed_target_is_refused_before_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    for call in (instantiate, find_target):
        with pytest.raises(InstantiationException, match=r"collections\.Counter"):
            call(COUNTER)
        with pytest.raises(InstantiationException, match="no_such_module"):
            call({"_target_": "no_such_module.Loss"})
        with pytest.raises(InstantiationException, match=r"torch\.load"):
            call({"_target_": "torch.load", "f": "x"})
        with pytest.raises(InstantiationException, match=r"system"):
            call({"_target_": "deblurlab.cli.main.os.system", "command": "false"})


@needs_whitelist
@pytest.mark.usefixtures("job")
def test_a_target_of_an_override_is_called() -> None:
    assert instantiate(COUNTER) == {"a": 2}


def test_find_target_does_not_call_the_target() -> None:
    assert find_target({"_target_": "deblurlab.losses.L1", "no_such_argument": 1}) is L1


def _shipped_targets() -> set[str]:
    """Return the targets of conf, except those of plugins, which Hydra itself instantiates."""
    texts = [file.read_text() for file in CONF.rglob("*.yaml")]
    found = {target for text in texts for target in re.findall(r"_target_: *([\w.]+)", text)}
    return {target for target in found if not target.startswith("hydra_plugins.")}


def test_every_shipped_target_can_be_found() -> None:
    targets = _shipped_targets()
    assert len(targets) > 80
    assert [target for target in sorted(targets) if not callable(find_target({"_target_": target}))] == []
