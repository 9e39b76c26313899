"""The command line in a subprocess: help, unknown commands and options."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from deblurlab.cli import main
from deblurlab.cli.hydra_commands import evaluate
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


@pytest.mark.untraced
def test_unknown_options_and_loss_terms_list_the_known_ones_without_a_traceback(tmp_path: Path) -> None:
    for override, known in (("model=nope", "unet_res"), ("loss=l1+nope", "known: adv, adv_hinge")):
        done = _run(str(TRAIN), override, cwd=tmp_path)
        assert done.returncode == 1
        assert known in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


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
