"""What the user sees as one clear line."""

import errno
import re
import reprlib
import sys

if sys.platform != "win32":
    import resource  # not when it is needed: then there is no memory for it

# What libraries say that have no memory for themselves, their threads or their tensors.
_OUT_OF_MEMORY = re.compile(
    r"failed to map segment|cannot allocate memory|can't allocate memory|not enough memory|out of memory"
    r"|bad_alloc|can't start new thread|unable to mmap",
    re.IGNORECASE,
)


class VoxlateError(Exception):
    """Something the user can mend. The message is one line: what, got, expected, what to do."""


class AudioError(VoxlateError):
    """One audio input that cannot be read. The message names the input and the reason."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an exception, or one that led to it, says that there is no memory left."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, (ImportError, RuntimeError, OSError)) and _OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def memory_advice() -> str:
    """Return a line about memory that is used up."""
    advice = "free some, or use a smaller model or --batch-size"
    if sys.platform != "win32":
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            advice += f"; this shell limits each process to {limit / 1e9:.1f} GB (ulimit -v), expected 2 GB or more"
    return f"not enough memory; {advice}"


def shown(value: object, longest: int = 80) -> str:
    """Return a value for a message: its repr on one line, cut in its middle to about `longest` characters."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = longest
    short.maxlist = short.maxdict = short.maxlevel = 3
    return short.repr(value)
