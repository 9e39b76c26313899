"""The commands of README.md and docs/training.md compose and run as printed."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

from deblurlab.config import CONF
from support import config

ROOT = CONF.parent
README = (ROOT / "README.md").read_text()
PAGES = [README, (ROOT / "docs" / "training.md").read_text()]
COMMANDS = [
    shlex.split(line, comments=True)
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
]


def _commands_of(script: str) -> list[list[str]]:
    """Return the arguments of every distinct command that calls `script`."""
    unique = {shlex.join(command[2:]): command[2:] for command in COMMANDS if command[:2] == ["python", script]}
    return list(unique.values())


TRAINING = _commands_of("train.py")
EVALUATING = _commands_of("evaluate.py")
REDUCED = {
    r"trainer\.max_steps=.*": ["trainer.max_steps=3"],
    r"module\.compile=true": ["module.compile=false"],  # needs a compiler and takes minutes
    r"logger=(tensorboard\+)?wandb": [r"\g<0>", "logger.wandb.offline=true"],  # needs an account
    r"(loss=.*)?\bvgg.*": [r"\g<0>", "++loss.vgg.weights=random"],  # 550 MB
    r"seed=1,2,3": ["seed=1,2"],
    r"\+sweep=losses": [r"\g<0>", "loss=l1,l1+adv", "seed=1,2"],  # twelve jobs
    r"\+sweep=weights": [r"\g<0>", "loss=l1+vgg+adv", "hydra.sweeper.trials=2", "++loss.vgg.weights=random"],
    r"hydra.sweeper.trials=.*": ["hydra.sweeper.trials=2"],
}
"""Arguments that a test can't afford, and their replacements."""
TESTED_ELSEWHERE = {
    "trainer=ddp": "needs GPUs",
    "trainer=ddp_cpu": "test_ddp.py runs two processes",
    "hydra/launcher=slurm": "tests/integration has a cluster",
}


def _reduced(argument: str) -> list[str]:
    for pattern, replacement in REDUCED.items():
        if match := re.fullmatch(pattern, argument):
            return [match.expand(template) for template in replacement]
    return [argument]


def test_bash_blocks_hold_commands_of_this_project_only() -> None:
    assert len(TRAINING) > 15
    assert len(EVALUATING) > 2
    assert {command[0] for command in COMMANDS} == {"python", "deblurlab", "torchrun", "wandb", "eval"}


@pytest.mark.parametrize("command", TRAINING, ids=" ".join)
def test_training_commands_compose(command: list[str]) -> None:
    if command[0].startswith("-"):
        pytest.skip("flags need the whole command line: test_training_commands_run")
    cfg = config(*command)
    for override in OverridesParser.create().parse_overrides(command):
        if "." in override.key_or_group and not override.key_or_group.startswith("hydra."):
            assert OmegaConf.select(cfg, override.key_or_group) == override.value()


@pytest.mark.parametrize("command", EVALUATING, ids=" ".join)
def test_evaluation_commands_compose(command: list[str]) -> None:
    arguments = [argument for argument in command if argument != "-m"]
    first = [argument.partition(",")[0] for argument in arguments]
    cfg = config(*first, name="evaluate")
    for override in OverridesParser.create().parse_overrides(first):
        if "." in override.key_or_group:
            assert OmegaConf.select(cfg, override.key_or_group) == override.value()


@pytest.fixture
def readme_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files of README's section "Extend" into an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for code in re.findall(r"```(?:python|yaml)\n(.*?)```", README, re.DOTALL):
        file = tmp_path / code.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)


@pytest.mark.usefixtures("readme_example")
def test_the_loss_term_of_the_readme_trains(train: Callable[..., Path]) -> None:
    command = next(command for command in TRAINING if "--config-dir" in command)
    run = train(*command)
    assert "loss/log_cosh" in (run / "metrics.csv").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("readme_example")
@pytest.mark.parametrize("command", TRAINING, ids=" ".join)
def test_training_commands_run(command: list[str], train: Callable[..., Path], gopro_tree: Path) -> None:
    """Run 3 steps with small networks on small images, stored in the folders that the command names."""
    for argument in command:
        if argument in TESTED_ELSEWHERE:
            pytest.skip(TESTED_ELSEWHERE[argument])
    shutil.copytree(gopro_tree, "data/GOPRO_Large")
    rng = np.random.default_rng(0)
    for folder in map(Path, ("photos/blurred", "photos/sharp")):
        folder.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    if "runs/mine" in " ".join(command):
        train("name=mine", "trainer.max_steps=2", "trainer.val_check_interval=2")
        (Path("runs/mine/results.json")).rename("runs/mine/earlier.json")
    arguments = [argument for given in command for argument in _reduced(given)]
    names = [] if any(argument.startswith("name=") for argument in arguments) else ["name=null"]
    train(*arguments, *names)
    files = [file for folder in ("runs", "out") for file in Path(folder).rglob("results.json")]
    results = [json.loads(file.read_text()) for file in files]
    assert results
    assert {result["steps"] for result in results} == {3}


def test_linked_files_and_the_image_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", README):
        assert (ROOT / target).exists(), target
    with Image.open(ROOT / "docs" / "before_after.png") as image:
        assert image.width > image.height


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200
