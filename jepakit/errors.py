"""The one exception that means: the user can mend this (exit code 2, no traceback)."""


class UserError(Exception):
    """A user's mistake: what is wrong, where, and what to write instead.

    The command line prints the message as it stands and exits with code 2. Every other exception is a failed run (exit code 1).
    """
