"""Errors as exit codes and messages."""

import errno
import os
import signal

import pytest
from hydra.errors import InstantiationException

from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.errors import UserError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("wrong"), "deblurlab: wrong"),
        (OSError("no file"), "deblurlab: no file"),
        (RuntimeError("a traceback\ndeblurlab.errors.UserError: wrong"), RuntimeError),
        (OSError("a traceback\ndeblurlab.errors.UserError: wrong"), "deblurlab: wrong"),
        (KeyboardInterrupt(), 130),
        (SystemExit(3), 3),
    ],
)
def test_expected_errors_become_exit_codes(error: BaseException, code: object) -> None:
    with pytest.raises(RuntimeError if code is RuntimeError else SystemExit) as end, exit_with_message():
        raise error
    assert code is RuntimeError or getattr(end.value, "code", None) == code


def test_the_cause_of_an_instantiation_error_is_the_message() -> None:
    with pytest.raises(SystemExit, match="^deblurlab: wrong$"), exit_with_message():
        raise InstantiationException("Error in call to target") from UserError("wrong")


def test_a_full_disk_and_an_interrupt_name_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(SystemExit, match="the disk is full .*: free space$"),
        exit_with_message(on_full_disk="free space"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(SystemExit), exit_with_message(on_interrupt="run it again"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "deblurlab: run it again\n"


def test_sigterm_exits_with_143_and_its_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end, exit_with_message():
        os.kill(os.getpid(), signal.SIGTERM)
    assert end.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before
