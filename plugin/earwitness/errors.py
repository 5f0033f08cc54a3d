"""The one kind of error a user is meant to read."""


class UserError(ValueError):
    """A mistake in a file, an option or the environment that the user can mend.

    The message is complete by itself: what is wrong, where (file and row), the offending value, and what is
    allowed or how to fix it. Commands print it as one line without a traceback and exit with status 2.
    """
