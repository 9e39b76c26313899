"""The one exception that is meant for the user's eyes."""

from collections.abc import Sequence


class UserError(Exception):
    """Something outside the code is wrong and the user can mend it.

    The message says what happened, to which file or setting, and what to do. The command line prints it
    without a traceback and exits with 1.
    """


def some(names: Sequence[str], count: int = 3) -> str:
    """The first few of many names, for a message."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def reason(error: BaseException) -> str:
    """The first sentence of what an error says; torch's go on with advice on how to run a stranger's code."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0] if lines else type(error).__name__


def cause(error: BaseException) -> BaseException:
    """What the user can mend, also where Hydra has wrapped it."""
    return error.__cause__ if isinstance(error.__cause__, UserError) else error
