"""Errors that the command line reports as one line."""

import errno
import re
import reprlib
import sys
from collections.abc import Mapping

if sys.platform != "win32":
    import resource  # at import: once memory has run out, importing may fail

# Messages of libraries that cannot allocate memory for their code, threads or tensors.
_OUT_OF_MEMORY = re.compile(
    r"failed to map segment|cannot allocate memory|can't allocate memory|not enough memory|out of memory"
    r"|bad_alloc|can't start new thread|unable to mmap",
    re.IGNORECASE,
)


# Errors of a disk: nothing more can be written, whatever the command.
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class VoxlateError(Exception):
    """A problem that the user can fix. The message is one line: what, got, expected, what to do.

    `exit_code` is that of the command line: 2, because most errors are those of the command.
    """

    exit_code = 2


class StorageError(VoxlateError):
    """Results that cannot be written, because the disk is full, say."""

    exit_code = 1


class OptionError(VoxlateError):
    """Options whose values cannot be used. `problems` says what is wrong, by the name that an option has in Python.

    OptionError({"beam_size": "is 0, expected 1 or more"})
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return self.message({})

    def message(self, names: Mapping[str, str]) -> str:
        """Return the problems on one line. `names` are those of the command line, where options have others."""
        return "; ".join(f"{names.get(option, option)} {problem}" for option, problem in self.problems.items())


class AudioError(VoxlateError):
    """An audio input that cannot be read. The message names the input and the reason."""


def check_type(name: str, value: object, expected: type) -> None:
    """Raise VoxlateError if an argument of a Python function is not of the expected type."""
    if not isinstance(value, expected):
        raise VoxlateError(f"`{name}` is {short_repr(value)}, expected {expected.__name__}")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an exception, or one that caused it, reports that memory has run out."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, (ImportError, RuntimeError, OSError)) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def memory_advice() -> str:
    """Return an error message for running out of memory."""
    advice = "free some, or use a smaller model or --batch-size"
    if sys.platform != "win32":
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            advice += f"; this shell limits each process to {limit / 1e9:.1f} GB (ulimit -v), expected 2 GB or more"
    return f"not enough memory; {advice}"


def short_repr(value: object, max_length: int = 80) -> str:
    """Return the repr of a value on one line, without its middle if it exceeds about `max_length` characters."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = max_length
    short.maxlist = short.maxdict = short.maxlevel = 3
    return short.repr(value)
