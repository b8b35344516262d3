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


def target_languages(
    inputs: object, to: str | Sequence[str | Sequence[str]], source: str | Sequence[str | None] | None
) -> list[tuple[str, ...]]:
    """Return the codes of each item of `to`. VoxlateError unless lists have one item for each input of a list."""
    for name, value in {"to": to, "source": source}.items():
        if is_list(inputs) and is_list(value) and len(value) != len(inputs):  # type: ignore[arg-type]
            raise VoxlateError(
                f"`{name}` has {len(value)} languages, expected one for each input, or one string for all; "  # type: ignore[arg-type]
                f"number of inputs: {len(inputs)}"  # type: ignore[arg-type]
            )
    return [target_codes(item) for item in ([to] if to is None or isinstance(to, str) else to)]
