"""The README's commands, as they stand there."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image

from deblurlab.config import compose as conf
from support import config

ROOT = conf.CONF.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
TRAINING = [command[2:] for command in COMMANDS if command[:2] == ["python", "train.py"]]
EVALUATING = [command[2:] for command in COMMANDS if command[:2] == ["python", "evaluate.py"]]
SHRUNK = {
    r"trainer\.max_steps=.*": ["trainer.max_steps=3"],
    r"module\.compile=true": ["module.compile=false"],  # takes a compiler and minutes
    r"logger=(tensorboard\+)?wandb": [r"\g<0>", "logger.wandb.offline=true"],  # an account
    r"(loss=.*)?\bvgg.*": [r"\g<0>", "++loss.vgg.weights=random"],  # 550 MB
    r"\+sweep=losses": [r"\g<0>", "loss=l1,l1+adv", "seed=1,2"],  # twelve jobs
    r"\+sweep=weights": [r"\g<0>", "loss=l1+vgg+adv", "hydra.sweeper.trials=2", "++loss.vgg.weights=random"],
    r"hydra.sweeper.trials=.*": ["hydra.sweeper.trials=2"],
}
"""Words that a test can't take as they stand, and what it takes instead."""
ELSEWHERE = {
    "trainer=ddp": "needs GPUs",
    "trainer=ddp_cpu": "test_ddp.py runs two processes",
    "hydra/launcher=slurm": "tests/integration has a cluster",
}


def _shrunk(word: str) -> list[str]:
    for pattern, instead in SHRUNK.items():
        if match := re.fullmatch(pattern, word):
            return [match.expand(template) for template in instead]
    return [word]


def test_there_are_commands_for_the_command_line_only() -> None:
    assert len(TRAINING) > 15
    assert {command[0] for command in COMMANDS} == {"python", "deblurlab", "torchrun", "wandb"}


@pytest.mark.parametrize("command", TRAINING, ids=" ".join)
def test_every_command_composes(command: list[str]) -> None:
    if command[0].startswith("-"):
        pytest.skip("flags are for the whole command line: the next test has it")
    cfg = config(*command)
    for override in OverridesParser.create().parse_overrides(command):
        if "." in override.key_or_group:
            assert OmegaConf.select(cfg, override.key_or_group) == override.value()


@pytest.mark.parametrize("command", EVALUATING, ids=" ".join)
def test_every_evaluation_composes(command: list[str]) -> None:
    words = [word for word in command if word != "-m"]
    first = [word.partition(",")[0] for word in words]
    cfg = config(*first, name="evaluate")
    for override in OverridesParser.create().parse_overrides(first):
        if "." in override.key_or_group:
            assert OmegaConf.select(cfg, override.key_or_group) == override.value()


@pytest.mark.slow
@pytest.mark.parametrize("command", TRAINING, ids=" ".join)
def test_every_command_runs(command: list[str], train: Callable[..., Path]) -> None:
    """With small networks, for three steps on small pictures that lie where the README says."""
    for word in command:
        if word in ELSEWHERE:
            pytest.skip(ELSEWHERE[word])
    rng = np.random.default_rng(0)
    gopro = [
        f"data/GOPRO_Large/{place}/{kind}"
        for place in ("train/a", "train/b", "train/c", "test/d")
        for kind in ("blur", "sharp")
    ]
    for folder in map(Path, ("photos/blurred", "photos/sharp", *gopro)):
        folder.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    Path("mine/loss").mkdir(parents=True)
    Path("mine/loss/huber.yaml").write_text("huber: {_target_: torch.nn.HuberLoss, weight: 1}\n")
    if "runs/mine" in " ".join(command):
        train("name=mine", "trainer.max_steps=2", "trainer.val_check_interval=2")
        (Path("runs/mine/results.json")).rename("runs/mine/earlier.json")
    words = [word for given in command for word in _shrunk(given)]
    names = [] if any(word.startswith("name=") for word in words) else ["name=null"]
    train(*words, *names)
    results = [json.loads(file.read_text()) for file in Path("runs").rglob("results.json")]
    assert results
    assert {result["steps"] for result in results} == {3}


def test_its_picture_and_the_files_it_links_to_are_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    with Image.open(ROOT / "docs" / "before_after.png") as picture:
        assert picture.width > picture.height
