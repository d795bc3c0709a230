"""The one error class that a user can meet."""


class AdrlGymError(ValueError):
    """Something the user gave cannot work. The message names the thing and the remedy.

    Command lines print it in one line and exit with status 2.
    """
