"""`hydra/sweeper=search` on objectives with known optima."""

import math
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from omegaconf import DictConfig
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from deblurlab.cli.hydra_commands import train as train_command
from hydra_plugins.deblurlab_search import Search, _distribution

Run = Callable[..., str]


def _objective(cfg: DictConfig) -> dict[str, Any]:
    """Return metrics with known optima, in place of a training, and add the weights to the file `calls`."""
    vgg, adv = math.log10(cfg.loss.vgg.weight), math.log10(cfg.loss.adv.weight)
    with Path("calls").open("a") as calls:
        calls.write(f"{cfg.loss.vgg.weight} {cfg.loss.adv.weight}\n")
    if len(_calls()) == int(os.environ.get("KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    if vgg > -0.2:
        raise ValueError("too large")
    psnr, ssim = 30 - (vgg + 1.5) ** 2 - (adv + 3) ** 2, 0.9 - (vgg + 2.5) ** 2
    return {"validation": {"psnr": psnr, "ssim": ssim, "mine": (vgg + 1.5) ** 2}}


def _calls() -> list[str]:
    return Path("calls").read_text().splitlines()


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Function that runs a search over `_objective` in an empty folder and returns the output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deblurlab.cli.hydra_commands._train", _objective)

    def run(*overrides: str, fails: bool = False, sweep: str = "+sweep=weights") -> str:
        monkeypatch.setattr(sys, "argv", ["train.py"])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) if fails else nullcontext():
            train_command(["-m", sweep, *overrides])
        captured = capsys.readouterr()
        return captured.err + captured.out

    yield run
    GlobalHydra.instance().clear()


@pytest.mark.slow
def test_a_killed_search_resumes_and_finds_the_optimum(search: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["hydra.sweeper.objectives=[psnr]", "hydra.sweeper.trials=40"]
    with monkeypatch.context() as patch:
        patch.setenv("KILL_AT", "9")
        process = multiprocessing.get_context("fork").Process(target=search, args=overrides)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    before = _calls()
    assert len(before) == 9
    output = search(*overrides)
    calls = _calls()
    assert calls[9] == before[8]  # the interrupted trial comes first
    assert len(calls) == len(set(calls)) + 1 == 41
    found = re.findall(r"psnr ([\d.]+)  loss.vgg.weight=(\S+) loss.adv.weight=(\S+)", output)
    psnr, vgg, adv = map(float, found[-1])
    assert psnr > 29.9
    assert 0.015 < vgg < 0.065  # 10^-1.5 is 0.032
    assert 0.0005 < adv < 0.002
    assert "failed: too large" in output
    assert "psnr" in search(*overrides)
    assert len(_calls()) == 41


@pytest.mark.slow
def test_conflicting_objectives_give_a_pareto_front(search: Run) -> None:
    """PSNR is best at 10^-1.5, SSIM at 10^-2.5: along the front between them one rises and the other falls."""
    output = search("hydra.sweeper.trials=30")
    found = re.findall(r"psnr ([\d.]+)  ssim ([\d.-]+)  loss.vgg.weight=(\S+)", output)
    assert len(found) >= 3
    scores = [(float(psnr), float(ssim)) for psnr, ssim, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert [ssim for _, ssim in scores] == sorted(ssim for _, ssim in scores)
    inside = [0.001 < float(weight) < 0.1 for *_, weight in found]
    assert sum(inside) >= 0.8 * len(inside)


@pytest.mark.slow
def test_equal_settings_in_a_batch_are_trained_once(search: Run) -> None:
    overrides = ["loss.vgg.weight=0.01,0.1", "loss.adv.weight=0.001", "hydra.sweeper.trials=6", "hydra.sweeper.batch=6"]
    output = search(*overrides)
    assert sorted(_calls()) == ["0.01 0.001", "0.1 0.001"]
    assert output.count("loss.vgg.weight=0.01  ") <= 1


def test_an_own_metric_determines_the_direction(search: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric from outside is minimized; a search can't go on in the other direction."""
    (tmp_path / "own_search.py").write_text(
        "import torchmetrics.image\nclass Variation(torchmetrics.image.TotalVariation):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    named: set[str] = set()
    monkeypatch.setattr("deblurlab.config.instantiation._named_in_python", named)
    file = tmp_path / "conf" / "metric" / "mine.yaml"
    file.parent.mkdir(parents=True)
    node = "mine: {_target_: own_search.Variation, digits: 6"
    file.write_text(f"{node}}}\n")
    command = [
        *("--config-dir", str(tmp_path / "conf"), "metric=psnr+mine", "hydra.sweeper.objectives=[mine]"),
        *("loss.adv.weight=0.001", "hydra.sweeper.trials=4"),
    ]
    output = search(*command)
    assert "own_search.Variation" in named
    distances = {(math.log10(float(call.split()[0])) + 1.5) ** 2: call.split()[0] for call in _calls()}
    assert len(distances) == 4
    assert f"mine {min(distances):.6f}  loss.vgg.weight={distances[min(distances)]}" in output
    file.write_text(f"{node}, higher_is_better: true}}\n")
    assert "holds a search with other directions" in search(*command, fails=True)
    file.write_text("mine: {_target_: torchmetrics.MeanMetric}\n")
    assert "deblurlab: metric.mine needs higher_is_better" in search(*command, fails=True)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=interval(0.5,2)", FloatDistribution(0.5, 2)),
        ("a.b=tag(log, interval(1e-5, 0.1))", FloatDistribution(1e-5, 0.1, log=True)),
        ("a.b=range(1,6)", IntDistribution(1, 5)),
        ("a.b=range(2,11,4)", IntDistribution(2, 10, step=4)),
        ("a.b=choice(x,y)", CategoricalDistribution(["x", "y"])),
        ("loss=l1,l1+vgg", CategoricalDistribution(["l1", "l1+vgg"])),
    ],
)
def test_sweep_syntax_gives_distributions(override: str, expected: object) -> None:
    (parsed,) = OverridesParser.create().parse_overrides([override])
    assert _distribution(parsed) == expected


def test_a_missing_objective_is_named() -> None:
    search = Search(params={}, objectives=["lpips_alex"], trials=1, batch=1, journal="", seed=0)
    with pytest.raises(CompactHydraException, match=r"measured no lpips_alex \(metric=\), but psnr, ssim"):
        search._objective_values({"validation": {"psnr": 1.0, "ssim": 1.0}})
    with pytest.raises(CompactHydraException, match="measured no lpips_alex"):
        search._objective_values({"validation": {"lpips_alex": float("nan")}})
    assert search._objective_values({"validation": {"lpips_alex": 0.0}}) == [0.0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "the search space is empty"),
        (["model.width=interval(2,1)"], "model.width has no valid search space"),
        (["model.width=4,8", "hydra.sweeper.objectives=[psnrr]"], "the validation measures metric=psnr+ssim"),
        (["model.width=4,8", "hydra.sweeper.batch=0"], "batch=0 must be at least 1"),
    ],
)
def test_wrong_search_settings_are_one_line_errors(search: Run, overrides: list[str], message: str) -> None:
    output = search("loss=l1", *overrides, sweep="hydra/sweeper=search", fails=True)
    assert message in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_journal_of_another_search_is_refused(search: Run) -> None:
    overrides = ["loss.vgg.weight=0.01,0.1", "hydra.sweeper.trials=1"]
    search(*overrides, "loss.adv.weight=0.001")
    for other in (["loss.adv.weight=0.01"], ["loss.adv.weight=0.001", "optimizer.lr=interval(0.1,0.2)"]):
        assert "holds a search over other values" in search(*overrides, *other, fails=True)
    calls = len(_calls())
    search(*overrides, "loss.adv.weight=0.01", "fresh=true")
    assert len(_calls()) == calls + 1
