"""Check the target languages of a call in Python."""

from collections.abc import Sequence

from voxlate.audio.python_inputs import is_list
from voxlate.errors import VoxlateError
from voxlate.languages import find_language


def target_codes(to: str | Sequence[str]) -> tuple[str, ...]:
    """Return the codes of one or several languages, each once. VoxlateError if one is unknown, or there is none."""
    codes = dict.fromkeys(find_language(name).code for name in ([to] if to is None or isinstance(to, str) else to))
    if not codes:
        raise VoxlateError("an input has no language to translate into; expected one or more")
    return tuple(codes)


def check_one_for_each(count: int, **arguments: object) -> None:
    """Raise VoxlateError if a list of languages does not have one for each input."""
    for name, value in arguments.items():
        if is_list(value) and len(value) != count:  # type: ignore[arg-type]
            raise VoxlateError(
                f"`{name}` has {len(value)} languages, expected one for each input, or one string for all; "  # type: ignore[arg-type]
                f"number of inputs: {count}"
            )
