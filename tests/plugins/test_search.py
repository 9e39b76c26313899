"""`hydra/sweeper=search` on objectives with known optima."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hydra_plugins.deblurlab_search import Search, _distribution

APP = """
import math, os, signal, sys
import hydra
from deblurlab import config

config.register()

def job(cfg):
    vgg, adv = math.log10(cfg.loss.vgg.weight), math.log10(cfg.loss.adv.weight)
    with open("calls", "a") as calls:
        calls.write(f"{cfg.loss.vgg.weight} {cfg.loss.adv.weight}\\n")
    if len(open("calls").readlines()) == int(os.environ.get("KILL_AT", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    if vgg > -0.2:
        raise ValueError("too large")
    return {"validation": {"psnr": 30 - (vgg + 1.5) ** 2 - (adv + 3) ** 2, "ssim": 0.9 - (vgg + 2.5) ** 2}}

hydra.main(version_base="1.3", config_path=str(config.CONF), config_name="train")(job)()
"""


def _search(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    (folder / "app.py").write_text(APP)
    command = [sys.executable, "app.py", "-m", "+sweep=weights", *overrides]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
def test_a_killed_search_resumes_and_finds_the_optimum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ["hydra.sweeper.objectives=[psnr]", "hydra.sweeper.trials=40"]
    with monkeypatch.context() as patch:
        patch.setenv("KILL_AT", "9")
        assert _search(tmp_path, *overrides).returncode == -9
    before = (tmp_path / "calls").read_text().splitlines()
    assert len(before) == 9
    done = _search(tmp_path, *overrides)
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[9] == before[8]  # the interrupted trial comes first
    assert len(calls) == len(set(calls)) + 1 == 41
    best = done.stderr + done.stdout
    found = re.findall(r"psnr ([\d.]+)  loss.vgg.weight=(\S+) loss.adv.weight=(\S+)", best)
    psnr, vgg, adv = map(float, found[-1])
    assert psnr > 29.9
    assert 0.015 < vgg < 0.065  # 10^-1.5 is 0.032
    assert 0.0005 < adv < 0.002
    assert "failed: too large" in best
    again = _search(tmp_path, *overrides)
    assert "psnr" in again.stderr + again.stdout
    assert len((tmp_path / "calls").read_text().splitlines()) == 41


@pytest.mark.slow
def test_conflicting_objectives_give_a_pareto_front(tmp_path: Path) -> None:
    """PSNR is best at 10^-1.5, SSIM at 10^-2.5: along the front between them one rises and the other falls."""
    done = _search(tmp_path, "hydra.sweeper.trials=30")
    found = re.findall(r"psnr ([\d.]+)  ssim ([\d.-]+)  loss.vgg.weight=(\S+)", done.stderr + done.stdout)
    assert len(found) >= 3
    scores = [(float(psnr), float(ssim)) for psnr, ssim, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert [ssim for _, ssim in scores] == sorted(ssim for _, ssim in scores)
    inside = [0.001 < float(weight) < 0.1 for *_, weight in found]
    assert sum(inside) >= 0.8 * len(inside)


@pytest.mark.slow
def test_equal_settings_in_a_batch_are_trained_once(tmp_path: Path) -> None:
    overrides = ["loss.vgg.weight=0.01,0.1", "loss.adv.weight=0.001", "hydra.sweeper.trials=6", "hydra.sweeper.batch=6"]
    done = _search(tmp_path, *overrides)
    assert done.returncode == 0, done.stderr
    assert sorted((tmp_path / "calls").read_text().splitlines()) == ["0.01 0.001", "0.1 0.001"]
    assert (done.stderr + done.stdout).count("loss.vgg.weight=0.01  ") <= 1


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


def test_wrong_search_settings_are_one_line_errors(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    command = [sys.executable, "app.py", "-m", "hydra/sweeper=search", "loss=l1"]
    for overrides, message in (
        ([], "the search space is empty"),
        (["model.width=interval(2,1)"], "model.width has no valid search space"),
        (["model.width=4,8", "hydra.sweeper.objectives=[psnrr]"], "the validation measures metric=psnr+ssim"),
        (["model.width=4,8", "hydra.sweeper.batch=0"], "batch=0 must be at least 1"),
    ):
        done = subprocess.run([*command, *overrides], cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    overrides = ["loss.vgg.weight=0.01,0.1", "hydra.sweeper.trials=1"]
    assert _search(tmp_path, *overrides, "loss.adv.weight=0.001").returncode == 0
    for other in (["loss.adv.weight=0.01"], ["loss.adv.weight=0.001", "optimizer.lr=interval(0.1,0.2)"]):
        done = _search(tmp_path, *overrides, *other)
        assert "holds a search over other values" in done.stderr
    calls = len((tmp_path / "calls").read_text().splitlines())
    assert _search(tmp_path, *overrides, "loss.adv.weight=0.01", "fresh=true").returncode == 0
    assert len((tmp_path / "calls").read_text().splitlines()) == calls + 1
