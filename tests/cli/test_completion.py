"""Completion of `deblurlab` in a shell."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deblurlab.cli import main

TAB = r"""
deblurlab() { "$PYTHON" -m deblurlab "$@"; }
eval "$(deblurlab --print-completion bash)"
while IFS= read -r line; do
  COMP_LINE="$line"; COMP_POINT=${#line}; COMPREPLY=()
  read -ra COMP_WORDS <<< "${line//=/ = }"
  [[ $line == *" " || $line == *= ]] && COMP_WORDS+=("")
  COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
  _deblurlab_complete deblurlab "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
  echo "${COMPREPLY[*]}"
done
"""
"""Prints what bash offers for each line of its input, which it splits into words at `=` too."""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_overrides(tmp_path: Path) -> None:
    expected = {
        "deblurlab re": "restore report",
        "deblurlab report ": "table compare sweep index",
        "deblurlab restore --engine ": "torch onnxruntime ray",
        "deblurlab restore pho": "photos",
        "deblurlab train scheduler=c": "constant cosine",
        "deblurlab train loss=l1 optimizer.l": "optimizer.lr=",
        "deblurlab evaluate restorer=wie": "wiener",
    }
    (tmp_path / "photos").mkdir()
    done = subprocess.run(
        ["bash", "-c", TAB], cwd=tmp_path, input="".join(f"{line}\n" for line in expected), capture_output=True,
        text=True, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}, timeout=600,
    )  # fmt: skip
    assert dict(zip(expected, done.stdout.splitlines(), strict=True)) == expected


@pytest.mark.parametrize("shell", [[], ["fish"]])
def test_other_shells_are_refused(
    shell: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["deblurlab", "--print-completion", *shell])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err == "deblurlab: --print-completion needs the name of a shell: bash or zsh\n"
