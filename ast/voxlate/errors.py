"""What the user sees as one clear line."""


class VoxlateError(Exception):
    """Something the user can mend. The message is one line: what, got, expected, what to do."""


class AudioError(VoxlateError):
    """One audio input that cannot be read. The message names the input and the reason."""
