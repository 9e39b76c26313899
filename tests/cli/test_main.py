"""The command line in a subprocess: help, unknown commands and options."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from deblurlab.cli import main
from deblurlab.cli.hydra_commands import evaluate, train
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
    example = "python train.py" if command == [str(TRAIN)] else "deblurlab train"
    assert done.stdout.count(f"\n  {example} ") == 5
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("run", "groups"),
    [
        (
            train,
            "augment callbacks data debug discriminator experiment logger loss metric model module optimizer protocol "
            "scheduler sweep trainer",
        ),
        (evaluate, "data metric own protocol psf restorer sweep"),
    ],
)
def test_help_lists_the_groups_of_the_command_and_the_user(
    run: Callable[[list[str]], None], groups: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.argv", ["deblurlab"])
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text("a: 1")
    with pytest.raises(SystemExit):
        run(["--help", *(["--config-dir", str(tmp_path)] if run is evaluate else [])])
    assert re.findall(r"^(\w+): ", capsys.readouterr().out, re.MULTILINE) == groups.split()


def test_help_needs_neither_torch_nor_lightning() -> None:
    code = (
        "import sys; sys.argv = ['train.py', '--help']; from deblurlab.cli.hydra_commands import train\n"
        "try: train(['--help'])\n"
        "finally: assert not {'torch', 'pytorch_lightning', 'cv2'} & set(sys.modules)"
    )
    assert _run("-c", code).returncode == 0


def test_printing_the_config_creates_no_files(tmp_path: Path) -> None:
    done = _run(str(TRAIN), "loss=l1+0.1*vgg", "--cfg", "job", cwd=tmp_path)
    assert "weight: 0.1" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", [["--config-dir", "own=folder"], ["-cd=own=folder"], ["--config-dir=own=folder"]])
def test_flags_may_stand_anywhere(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own=folder" / "psf").mkdir(parents=True)
    (tmp_path / "own=folder" / "psf" / "mine.yaml").write_text("_target_: mine.Psf\nsigma: 3")
    overrides, shown = ["seed=7", "psf=mine", "psf.sigma=4"], ["--cfg", "job"]
    printed = set()
    for position in range(len(overrides) + 1):
        for tail in (shown, []):
            monkeypatch.setattr("sys.argv", ["evaluate.py"])
            head = [] if tail else shown
            evaluate([*head, *overrides[:position], *flags, *overrides[position:], *tail])
            printed.add(capsys.readouterr().out)
    (text,) = printed
    cfg = OmegaConf.create(text)
    assert (cfg.seed, cfg.psf) == (7, {"_target_": "mine.Psf", "sigma": 4})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["los=l1"], "there is no key or group los: did you mean loss?"),
        (["-m", "los=l1,mse"], "there is no key or group los: did you mean loss?"),
        (["optimzer.lr=1"], "there is no key or group optimzer: did you mean optimizer?"),
        (["hydra/lancher=basic"], "there is no key or group hydra/lancher: did you mean hydra/launcher?"),
        (["zzz=1"], "there is no key or group zzz: --help lists the groups, --cfg job the keys"),
        (["trainer.max_step=1"], "there is no key trainer.max_step: did you mean trainer.max_steps? "),
        (["callbacks.emma.decay=1"], "there is no key callbacks.emma: did you mean callbacks.ema? "),
        (["scheduler.zzz=1"], "there is no key scheduler.zzz: keys of scheduler: interval, "),
        (["loss=l2x"], "there is no option l2x of loss: did you mean l1? options: adv, adv_hinge, "),
        (["loss=l1+vg"], "unknown loss vg in loss=l1+vg; did you mean vgg? known: adv, adv_hinge, "),
        (["experiment=papr"], "there is no option papr of experiment: did you mean paper? options: bundled, "),
        (["+sweep=loses"], "there is no option loses of sweep: did you mean losses? options: discriminators, "),
        (["+experment=paper"], "there is no key or group experment: did you mean experiment? "),
        (["++experment=paper", "fresh=maybe"], "fresh=maybe must be true or false"),  # the key is added
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_in_one_line(
    overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(SystemExit) as end:
        train(overrides)
    text = end.value.code if isinstance(end.value.code, str) else capsys.readouterr().err
    assert text.startswith(f"deblurlab: {message}")
    assert text.count("\n") <= 1


def test_an_unknown_option_exits_with_1_and_one_line(tmp_path: Path) -> None:
    done = _run(str(TRAIN), "model=unet_ers", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    known = ", ".join(options("model"))
    assert done.stderr == (
        f"deblurlab: there is no option unet_ers of model: did you mean unet_res? options: {known}\n"
    )


def test_the_file_that_names_an_unknown_option_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [{/psf: gausian}]\n")
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(SystemExit):
        train(["--config-dir", str(tmp_path), "experiment=mine"])
    assert (
        "there is no option gausian of psf (in experiment/mine.yaml): did you mean gaussian? "
        in capsys.readouterr().err
    )


def test_full_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(ConfigCompositionException):
        train(["los=l1"])
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("tran", "did you mean train?"),
        ("--verson", "did you mean --version?"),
        ("xyz", "known: train, evaluate, restore, serve, data, report, dashboard, export, weights"),
    ],
)
def test_an_unknown_command_exits_with_2_and_names_the_nearest(
    command: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["deblurlab", command])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    expected = f"deblurlab: there is no command {command}: {hint} (deblurlab --help describes them)\n"
    assert capsys.readouterr() == ("", expected)


def test_the_usage_and_the_version_are_printed() -> None:
    assert "train a model" in _run("-m", "deblurlab").stdout
    done = _run("-m", "deblurlab", "--version")
    assert (done.returncode, done.stdout) == (0, f"deblurlab {version('deblurlab')}\n")


@pytest.mark.parametrize("command", ["restore", "serve", "data", "report", "dashboard", "export", "weights"])
def test_every_command_has_help_without_torch(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['deblurlab', '{command}', '--help']; from deblurlab.cli import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'pytorch_lightning', 'cv2'} & set(sys.modules)"
    )
    done = _run("-c", code)
    assert done.returncode == 0, done.stderr
    assert f"usage: deblurlab {command}" in done.stdout
