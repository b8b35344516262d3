"""Voxlate translates speech to text. Importing it loads no torch: names resolve when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxlate.decoding.translator import Translator as Translator
    from voxlate.errors import AudioError as AudioError
    from voxlate.errors import VoxlateError as VoxlateError
    from voxlate.search_options import SearchOptions as SearchOptions

__version__ = "0.1.0"

_LAZY = {
    "AudioError": "voxlate.errors",
    "SearchOptions": "voxlate.search_options",
    "Translator": "voxlate.decoding.translator",
    "VoxlateError": "voxlate.errors",
}
__all__ = [*_LAZY, "__version__"]  # noqa: PLE0604 (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
