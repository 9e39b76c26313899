"""Errors as exit codes: one context manager for all commands."""

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from deblurlab.errors import UserError, user_cause


@contextmanager
def exit_with_message(
    *, on_interrupt: str | None = None, on_full_disk: str | None = None, handle_sigterm: bool = True
) -> Iterator[None]:
    """Replace the traceback of an expected error by one line on standard error, and exit.

    UserError, Hydra's InstantiationException and OSError exit with 1, Ctrl-C with 130, SIGTERM with 143. SIGTERM
    unwinds the stack, so temporary files are deleted.

    Args:
        on_interrupt: Message after Ctrl-C; None prints nothing.
        on_full_disk: Remedy that is added to the message of a full disk.
        handle_sigterm: False leaves the handler of SIGTERM unchanged.

    Raises:
        SystemExit: The block raised one of these errors.
    """
    previous = signal.signal(signal.SIGTERM, _exit_on_signal) if handle_sigterm else None
    try:
        yield
    except KeyboardInterrupt:
        if on_interrupt is not None:
            print(f"deblurlab: {on_interrupt}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        from hydra.errors import InstantiationException  # only after an error, because most commands don't need Hydra

        if not isinstance(error, (UserError, InstantiationException, OSError)):
            raise
        sys.exit(f"deblurlab: {_message(user_cause(error), on_full_disk)}")
    finally:
        if handle_sigterm:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _message(error: BaseException, on_full_disk: str | None) -> str:
    if on_full_disk is not None and isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error}): {on_full_disk}"
    # The message of an error in a data loader's worker is preceded by its traceback.
    message = str(error).rsplit(f"{UserError.__module__}.{UserError.__qualname__}: ", 1)[-1].strip()
    return " ".join(message.splitlines())  # Hydra names the target, its error and the key in a line each


def _exit_on_signal(number: int, frame: object) -> None:
    sys.exit(128 + number)
