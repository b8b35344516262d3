"""What the user sees as one clear line."""

import reprlib


class VoxlateError(Exception):
    """Something the user can mend. The message is one line: what, got, expected, what to do."""


class AudioError(VoxlateError):
    """One audio input that cannot be read. The message names the input and the reason."""


def shown(value: object) -> str:
    """Return a value for a message: its repr on one line, cut to about 80 characters."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 80
    short.maxlist = short.maxdict = short.maxlevel = 3
    return short.repr(value)
