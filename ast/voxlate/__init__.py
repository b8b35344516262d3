"""Voxlate translates speech to text. Importing it does not import torch: names are resolved on first use.

from voxlate import Translator

translator = Translator("facebook/wav2vec2-xls-r-300m-en-to-15")
print(translator.translate("talk.mp3", to="de").text)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxlate.audio.loading import load_audio as load_audio
    from voxlate.decoding.identifier import Identifier as Identifier
    from voxlate.decoding.results import Segment as Segment
    from voxlate.decoding.results import Translation as Translation
    from voxlate.decoding.segmenting import SegmentationOptions as SegmentationOptions
    from voxlate.decoding.subtitle_options import SubtitleOptions as SubtitleOptions
    from voxlate.decoding.transcriber import Transcriber as Transcriber
    from voxlate.decoding.translator import Translator as Translator
    from voxlate.decoding.writers import write_ass as write_ass
    from voxlate.decoding.writers import write_json as write_json
    from voxlate.decoding.writers import write_srt as write_srt
    from voxlate.decoding.writers import write_tsv as write_tsv
    from voxlate.decoding.writers import write_txt as write_txt
    from voxlate.decoding.writers import write_vtt as write_vtt
    from voxlate.errors import AudioError as AudioError
    from voxlate.errors import VoxlateError as VoxlateError
    from voxlate.manifest.reading import read_manifest as read_manifest
    from voxlate.manifest.writing import write_manifest as write_manifest
    from voxlate.search_options import SearchOptions as SearchOptions

__version__ = "0.2.0"

_MODULES = {
    "AudioError": "voxlate.errors",
    "Identifier": "voxlate.decoding.identifier",
    "SearchOptions": "voxlate.search_options",
    "SegmentationOptions": "voxlate.decoding.segmenting",
    "Segment": "voxlate.decoding.results",
    "SubtitleOptions": "voxlate.decoding.subtitle_options",
    "Transcriber": "voxlate.decoding.transcriber",
    "Translation": "voxlate.decoding.results",
    "Translator": "voxlate.decoding.translator",
    "VoxlateError": "voxlate.errors",
    "load_audio": "voxlate.audio.loading",
    "read_manifest": "voxlate.manifest.reading",
    "write_ass": "voxlate.decoding.writers",
    "write_json": "voxlate.decoding.writers",
    "write_manifest": "voxlate.manifest.writing",
    "write_srt": "voxlate.decoding.writers",
    "write_tsv": "voxlate.decoding.writers",
    "write_txt": "voxlate.decoding.writers",
    "write_vtt": "voxlate.decoding.writers",
}
__all__ = [*_MODULES, "__version__"]  # noqa: PLE0604 (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
