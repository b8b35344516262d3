"""How work that takes long reports its progress; the command line passes a bar."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# From a title and the number of items to a context; it yields the function that takes the number of items newly done.
ProgressBar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def no_progress(title: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG001
    """Report nothing."""
    yield lambda _: None
