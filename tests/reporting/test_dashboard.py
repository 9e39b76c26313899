"""`deblurlab dashboard`: what W&B would be sent."""

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


def test_without_an_account_create_says_so_in_a_line(tmp_path: Path) -> None:
    """In a process of its own: W&B's session is the process's, and would no longer be offline for others."""
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"}
    environment |= {"HOME": str(tmp_path), "NETRC": f"{tmp_path}/netrc"}
    command = [sys.executable, "-m", "deblurlab", "dashboard", "create", "--entity", "me"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1
    assert re.search(r"^deblurlab: W&B can't be had: .*`deblurlab dashboard show` needs neither$", done.stderr, re.M)
    assert "Traceback" not in done.stderr
