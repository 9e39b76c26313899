"""Exception for errors that the user can fix, and helpers for its messages."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence


class UserError(Exception):
    """Error outside the code that the user can fix: a setting, a file, a missing package.

    The message says in one line what is wrong, which file or setting causes it, and the remedy. The command line prints
    it without a traceback and exits with code 1.
    """


class SizeError(UserError, ValueError):
    """Image of a size that a network can't restore. Images of other sizes may succeed."""


def printable(text: str, limit: int = 500) -> str:
    r"""Return a text of a file, or its name, for a message: what a terminal would obey or can't show, as escapes.

    >>> printable("\x1b[31mred\n")
    '\\x1b[31mred\\n'
    >>> printable("caf\udce9.png")
    'caf\\xe9.png'
    """
    short = text if len(text) <= limit else text[:limit] + "..."
    return "".join(_escape(c) if unicodedata.category(c)[0] == "C" else c for c in short)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that isn't UTF-8, in the name of a file
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def list_first(names: Sequence[str], count: int = 3) -> str:
    """Return the first `count` names for a message, printable, with the number of the others.

    >>> list_first(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    return ", ".join(map(printable, names[:count])) + (f" and {len(names) - count} more" if len(names) > count else "")


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return a question for a message, with the known name that is nearest to a misspelt one; empty if none is near.

    Args:
        name: Misspelt name.
        known: Names to choose from.
        cutoff: Smallest similarity, the ratio of `difflib.SequenceMatcher`.

    >>> did_you_mean("los", ["loss", "model"])
    'did you mean loss?'
    """
    near = difflib.get_close_matches(name, sorted(known), 1, cutoff)
    return f"did you mean {near[0]}?" if near else ""


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error's message, printable, or the error's class if it has none.

    The messages of torch.load continue with advice on how to run code from the file.
    """
    lines = str(error).strip().splitlines()
    return printable(lines[0].split(". ")[0]) if lines else type(error).__name__


def user_cause(error: BaseException) -> BaseException:
    """Return the UserError that Hydra wrapped in `error`, or `error` itself."""
    return error.__cause__ if isinstance(error.__cause__, UserError) else error
