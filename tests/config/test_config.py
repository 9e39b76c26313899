"""Sums of terms, names of runs, and every file of conf/ and sweeps/."""

import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from deblurlab.cli.hydra_commands import evaluate
from deblurlab.config import CONF, SWEEPS, instantiate
from deblurlab.config.resolvers import evenly, run_name
from deblurlab.config.sums import SumSource, parse_sum
from deblurlab.errors import UserError
from deblurlab.metrics import Measurement
from support import config, option_names


@pytest.mark.parametrize(
    ("expression", "terms"),
    [
        ("l1+vgg", [("l1", None), ("vgg", None)]),
        ("l1+0.1*vgg+1e-3*adv", [("l1", None), ("vgg", 0.1), ("adv", 1e-3)]),
        ("2*l1", [("l1", 2.0)]),
        (".5*l1+2.*mse", [("l1", 0.5), ("mse", 2.0)]),
        ("1e+2*l1+mse", [("l1", 100.0), ("mse", None)]),
        ("l1", None),
        ("", None),
        ("l1+", None),
        ("+l1", None),
        ("l1++vgg", None),
        ("l1*0.1", None),
        ("l1-vgg", None),
        ("0.1*", None),
    ],
)
def test_parse_sum(expression: str, terms: object) -> None:
    assert parse_sum(expression) == terms


def test_a_sum_composes_its_terms_with_inline_weights() -> None:
    default = config("loss=vgg").loss.vgg.weight
    cfg = config("loss=adv+0.25*l1+vgg")
    assert set(cfg.loss) == {"adv", "l1", "vgg"}
    assert (cfg.loss.l1.weight, cfg.loss.vgg.weight) == (0.25, default)


def test_an_override_of_the_weight_replaces_the_inline_weight() -> None:
    assert config("loss=l1+0.5*vgg", "loss.vgg.weight=0.7").loss.vgg.weight == 0.7


def test_the_command_line_replaces_the_sum_of_an_experiment() -> None:
    assert set(config("experiment=demo").loss) == {"l1", "vgg", "adv"}
    chosen = config("experiment=demo", "loss=mse").loss
    assert [name for name in chosen if "_target_" in chosen[name]] == ["mse"]


def test_inline_weights_replace_those_of_an_experiment() -> None:
    """An experiment's weights apply to the terms without an inline weight."""
    assert config("experiment=paper").loss.l1.weight == config("experiment=paper", "loss=l1+vgg").loss.l1.weight == 0.5
    cfg = config("experiment=paper", "loss=0.25*l1+adv")
    assert (cfg.loss.l1.weight, cfg.loss.adv.weight) == (0.25, 0.01)
    assert config("experiment=paper", "loss=0.25*l1", "loss.l1.weight=3").loss.l1.weight == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=l1+nope", f"unknown loss nope in loss=l1+nope; known: {', '.join(option_names('loss'))}"),
        ("loss=l1+l1", "names a term twice"),
        ("logger=csv+0.5*wandb", "only loss takes factors"),
    ],
)
def test_a_wrong_sum_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigCompositionException, match=message.replace("+", r"\+").replace("*", r"\*")):
        config(override)


def test_an_unknown_option_is_refused_with_a_list() -> None:
    with pytest.raises(Exception, match=r"(?s)Could not find 'model/nope'.*unet.*unet_res"):
        config("model=nope")


def test_loggers_add_up() -> None:
    assert set(config("logger=tensorboard+wandb").logger) == {"csv", "tensorboard", "wandb"}


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["model=unet", "loss=l1+0.1*vgg"], "loss-l1+0.1xvgg_model-unet"),
        (["loss=l1+0.1*vgg", "model=unet", "fresh=true"], "loss-l1+0.1xvgg_model-unet"),
        (["+debug=smoke", "~callbacks.ema"], "debug-smoke_without-callbacks.ema"),
        (["data.blurred=/a b/c", "data.sharp=[x,y]"], "data.blurred-a-b-c_data.sharp-x-y"),
    ],
)
def test_run_name_is_a_slug_of_the_overrides(overrides: list[str], name: str) -> None:
    assert run_name(None, overrides) == name


def test_run_name_of_many_overrides_is_short_and_unique() -> None:
    names = [run_name(None, [f"a.very.long.key.number{i}=value" for i in range(30)] + [f"seed={s}"]) for s in (1, 2)]
    assert all(len(name) <= 120 for name in names)
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        (["hydra.run.dir=out/a"], ["out/a"]),
        (["hydra.run.dir=out/a", "run=out/b"], ["out/b"]),
        (["hydra.sweep.dir=sw"], ["runs/evaluations/default"]),
        (["-m", "seed=1,2", "hydra.sweep.dir=sw"], ["sw/seed-1", "sw/seed-2"]),
        (["-m", "seed=1,2", "hydra.sweep.dir=sw", "hydra.run.dir=out"], ["sw/seed-1", "sw/seed-2"]),
        (["-m", "seed=1,2", "runs=sw", "hydra.sweep.subdir=job${hydra.job.num}"], ["sw/job0", "sw/job1"]),
    ],
)
def test_folders_of_hydra_are_those_of_the_runs(
    arguments: list[str], folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    found = []
    monkeypatch.setattr("deblurlab.evaluation.run.evaluate", lambda cfg, **_: found.append(cfg.run))
    evaluate(arguments)
    assert found == folders


def test_a_given_run_name_is_kept() -> None:
    assert run_name("mine", ["model=unet"]) == "mine"


@pytest.mark.parametrize(
    ("limit", "steps", "interval"), [(1000, 20000, 1000), (1000, 2500, 833), (1000, 20, 20), (1000, -1, 1000)]
)
def test_evenly(limit: int, steps: int, interval: int) -> None:
    assert evenly(limit, steps) == interval


OFFLINE = ["pretrained=random"]
REQUIRED = {
    "data=pairs": ["data.blurred=a", "data.sharp=b"],
    "data=unpaired": ["data.blurred=a", "data.sharp=b"],
    "data=streaming": ["data.root=a"],
    "data=torch": ["data.train._target_=own_sets.Samples"],
    "logger=wandb": ["logger.wandb.offline=true"],
    "restorer=checkpoint": ["restorer.path=/missing"],
    "restorer=onnx": ["restorer.path=/missing"],
    "psf=file": ["psf.path=/missing"],
}
"""Overrides that an option requires, or that replace a download."""
SIMPLE = ("model", "discriminator", "data", "augment", "module", "optimizer", "scheduler")


FILES = {"checkpoint", "onnx", "file"}
"""Options that read a file."""


def _overrides(group: str, option: str) -> list[str]:
    choice = f"+{group}={option}" if group == "debug" else f"{group}={option}"
    return [choice, *REQUIRED.get(choice, [] if _entry(group) == "evaluate" else OFFLINE)]


def _entry(group: str) -> str:
    """Return the configuration that a group belongs to."""
    return "evaluate" if group in ("restorer", "psf", "protocol") else "train"


ALL = [
    (group.name, option) for group in sorted(CONF.iterdir()) if group.is_dir() for option in option_names(group.name)
]


class Composed(NamedTuple):
    """Config with an option of a group."""

    group: str
    option: str
    cfg: DictConfig


@pytest.fixture(scope="module", params=ALL, ids=["=".join(pair) for pair in ALL])
def composed(request: pytest.FixtureRequest) -> Composed:
    group, option = request.param
    more = ["logger.wandb.name=x"] if option == "wandb" else []
    return Composed(group, option, config(*_overrides(group, option), *more, "name=x", name=_entry(group)))


def test_every_file_composes_and_resolves(composed: Composed) -> None:
    resolved = OmegaConf.to_container(composed.cfg, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    if _entry(composed.group) == "evaluate":
        assert {"restorer", "psf", "data", "protocol"} <= resolved.keys()
    else:
        assert {"model", "loss", "data", "trainer"} <= resolved.keys()
        assert "${" not in str(resolved)


def test_every_file_instantiates(composed: Composed, tmp_path: Path) -> None:
    group, option = composed.group, composed.option
    if option == "ddp":
        pytest.skip("needs GPUs")
    cfg = composed.cfg.copy()
    cfg.run = str(tmp_path)
    if option in ("scenes_and_photographs", "bundled"):
        with pytest.raises(UserError, match="needs source_images=<folder"):
            instantiate(cfg.data)
        return
    if option in FILES:
        with pytest.raises(UserError, match="missing"):
            instantiate(cfg[group])
    elif group in SIMPLE or _entry(group) == "evaluate":
        resolved = instantiate(cfg[group])
        assert resolved is not None
    elif group == "loss":
        for name in cfg.loss:
            if "_target_" in cfg.loss[name] and cfg.loss[name].get("weights") == "imagenet":
                continue
            arguments = OmegaConf.to_container(cfg.loss[name], resolve=True)
            arguments.pop("weight")
            assert callable(instantiate(arguments))
    elif group == "metric":
        measurement = Measurement.of(cfg)
        assert [*measurement.names, *measurement.set_metrics, *measurement.unavailable] == [option]
    elif group in ("callbacks", "logger"):
        assert all(instantiate(node) for node in cfg[group].values())
    else:
        assert callable(instantiate(cfg.trainer))
        assert instantiate(cfg.model) is not None
        assert instantiate(cfg.data) is not None


GRIDS = {
    "losses": "runs/losses",
    "generators": "runs/generators",
    "discriminators": "runs/discriminators",
    "objectives": "runs/objectives",
    "table1": "runs/table1",
    "paper_small": "runs/paper_small/losses",
    "methods_small": "runs/paper_small/methods",
    "table1_small": "runs/paper_small/table1",
}
"""Folder of each sweep's runs."""
SWEEP_NAMES = sorted(path.stem for path in (SWEEPS / "sweep").glob("*.yaml"))


def test_every_sweep_has_a_test() -> None:
    assert {*SWEEP_NAMES} == {*GRIDS, "weights"}  # weights: test_search


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_every_job_of_a_sweep_composes_with_a_unique_name(name: str) -> None:
    params = OmegaConf.load(SWEEPS / "sweep" / f"{name}.yaml").hydra.sweeper.params
    choices = [[f"{key}={value}" for value in str(values).split(",")] for key, values in params.items()]
    jobs = list(itertools.product(*choices))
    assert len(jobs) == len({run_name(None, [f"+sweep={name}", *job]) for job in jobs}) > 3
    assert "sweep" not in run_name(None, [f"+sweep={name}", *jobs[0]])
    for job in jobs:
        if job[-1] == choices[-1][0]:  # one seed
            kind = "evaluate" if name.startswith("table1") else "train"
            assert config(f"+sweep={name}", *job, name=kind).runs == GRIDS[name]


@pytest.mark.parametrize("minutes", ["abc", "0", "-1"])
def test_a_wrong_budget_is_named(minutes: str) -> None:
    with pytest.raises(Exception, match=f"minutes={minutes} and steps_per_minute must be numbers above 0"):
        _ = config("experiment=small", f"minutes={minutes}").trainer.max_steps


def test_reduced_recipes_download_nothing() -> None:
    for name in ("small", "paper_small", "deblurgan_small"):
        assert config(f"experiment={name}").loss.vgg.weights == "random"


def test_a_sum_in_a_sweep_is_one_value() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides(["loss=l1,l1+vgg,l1+0.01*adv"])
    assert list(override.sweep_string_iterator()) == ["l1", "l1+vgg", "l1+0.01*adv"]


def test_sums_are_listed_for_shell_completion_only(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SumSource("test", "sum://")
    assert source.list("loss", None) == []
    monkeypatch.setenv("COMP_LINE", "python train.py loss=l1+")
    names = option_names("loss")
    assert set(source.list("loss", None)) == {f"{a}+{b}" for a, b in itertools.permutations(names, 2)}


def test_a_misspelled_key_is_named_in_the_error() -> None:
    cfg: DictConfig = config("+model.widht=3")
    with pytest.raises(Exception, match="widht"):
        instantiate(cfg.model)


@pytest.mark.parametrize("file", sorted((SWEEPS / "wandb").glob("*.yaml")), ids=lambda file: file.stem)
def test_commands_of_wandb_agents_compose(file: Path) -> None:
    sweep = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(sweep, dict)
    assert sweep["command"][:3] == ["${env}", "python", "${program}"]
    assert sweep["command"][-1] == "${args_no_hyphens}"
    fixed = sweep["command"][3:-1]
    values = {key: p.get("values") or [p["min"], p["max"]] for key, p in sweep["parameters"].items()}
    for chosen in itertools.product(*([f"{key}={value}" for value in of] for key, of in values.items())):
        cfg = config(*fixed, *chosen)
        assert "wandb" in cfg.logger
        assert cfg.runs.startswith("runs/wandb-")
    assert sweep["metric"]["name"] == cfg.callbacks.checkpoints.monitor
