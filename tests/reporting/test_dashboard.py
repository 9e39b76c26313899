"""`deblurlab dashboard`: the content sent to W&B."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deblurlab.cli import main


def _strings(node: object) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in _strings(value)]
    return [node] if isinstance(node, str) else []


def test_show_prints_the_workspace_and_the_report_without_a_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["deblurlab", "dashboard", "show", "--entity", "me", "--sweep", "runs/losses"])
    main()
    workspace, report = map(_strings, json.loads(capsys.readouterr().out))
    assert {"val/psnr", "val/psnr_blurred", "val/ssim", "^loss/.*", "^gradient/.*", "test/images"} <= {*workspace}
    assert {"runs/losses", "options.value.loss", "val/psnr", "mean", "stddev"} <= {*report}
    assert "runs/losses" not in workspace


def test_create_without_an_account_is_a_one_line_error(tmp_path: Path) -> None:
    """Runs in a separate process, because W&B's session is global and would not stay offline for other tests."""
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"}
    environment |= {"HOME": str(tmp_path), "NETRC": f"{tmp_path}/netrc"}
    command = [sys.executable, "-m", "deblurlab", "dashboard", "create", "--entity", "me"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1
    assert re.search(
        r"^deblurlab: W&B is not available: .*`deblurlab dashboard show` works offline$", done.stderr, re.M
    )
    assert "Traceback" not in done.stderr
