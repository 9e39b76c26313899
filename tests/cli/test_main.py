"""The command line as a shell sees it."""

import subprocess
import sys
from pathlib import Path

import pytest

from deblurlab.config import CONF, options

TRAIN = CONF.parent / "train.py"


def _run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=900, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize("command", [[str(TRAIN)], ["-m", "deblurlab", "train"]], ids=["train.py", "deblurlab"])
def test_help_lists_every_option_of_every_group(command: list[str], tmp_path: Path) -> None:
    done = _run(*command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    for group in ("model", "discriminator", "loss", "optimizer", "scheduler", "experiment"):
        assert f"{group}: {', '.join(options(group))}" in done.stdout
    assert not list(tmp_path.iterdir())


def test_help_needs_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; sys.argv = ['train.py', '--help']; from deblurlab.cli.hydra_commands import train\n"
        "try: train(['--help'])\n"
        "finally: assert not {'torch', 'pytorch_lightning', 'cv2'} & set(sys.modules)"
    )
    assert _run("-c", code).returncode == 0


def test_the_config_can_be_looked_at_without_a_trace(tmp_path: Path) -> None:
    done = _run(str(TRAIN), "loss=l1+0.1*vgg", "--cfg", "job", cwd=tmp_path)
    assert "weight: 0.1" in done.stdout
    assert not list(tmp_path.iterdir())


def test_unknown_choices_and_terms_list_the_known_ones_without_a_traceback(tmp_path: Path) -> None:
    for override, known in (("model=nope", "unet_res"), ("loss=l1+nope", "known: adv, adv_hinge")):
        done = _run(str(TRAIN), override, cwd=tmp_path)
        assert done.returncode == 1
        assert known in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_command_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = _run("-m", "deblurlab", "tran")
    assert done.returncode == 1
    assert "there is no command tran" in done.stderr
    assert "train a model" in done.stderr
    assert "train a model" in _run("-m", "deblurlab").stdout
