"""The one error class that a user can meet."""

from collections.abc import Sequence


class AdrlGymError(ValueError):
    """Something the user gave cannot work. The message names the thing and the remedy.

    Command lines print it in one line, with the flags of ``parameter`` behind it, and exit with status 2.

    Args:
        message: name, constraint, value and remedy.
        parameter: name of the argument, or names of the arguments, to change.
    """

    def __init__(self, message: str, *, parameter: str | Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter
