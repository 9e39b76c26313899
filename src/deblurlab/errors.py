"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """Something outside the code is wrong and the user can mend it.

    The message says what happened, to which file or setting, and what to do. The command line prints it
    without a traceback and exits with 1.
    """
