"""Text to speech with espeak-ng, a formant synthesizer for about a hundred languages, through its C library.

The library comes with the wheel espeakng-loader (`pip install voxlate[spoken]`) or with the system (Debian's
`espeak-ng`). Its state is global to the process, so use it from one thread. The API is declared in its speak_lib.h.
"""

from __future__ import annotations

import _ctypes
import ctypes
import re
from ctypes.util import find_library
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from voxlate.audio.resampling import mono_chunks
from voxlate.errors import VoxlateError
from voxlate.languages import find_language

if TYPE_CHECKING:
    from voxlate.audio.resampling import Waveform

_SYNCHRONOUS, _POSITION_CHARACTER, _UTF8 = 2, 1, 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_LIST_TERMINATED, _WORD, _END = 0, 1, 5  # espeak_EVENT_TYPE; END is that of a clause, after its pause


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng: its name (`fr-be`), the code of its language in `voxlate.languages`, and its file."""

    name: str
    language: str
    file: str


@dataclass(frozen=True)
class Prosody:
    """Prosody of a voice: a variant ("" for none), words per minute (80 to 450), and pitch (0 to 99)."""

    variant: str = ""
    words_per_minute: int = 175
    pitch: int = 50


@dataclass(frozen=True)
class SpokenWord:
    """A word between white space, and when it is spoken, in seconds. The last of a clause ends after its pause."""

    text: str
    start: float
    end: float


class _VoiceStruct(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # a priority byte followed by a code, repeated
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class _EventStruct(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # in milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EventStruct))


class Espeak:
    """The espeak-ng library. Use `espeak()`, which loads it once per process.

    VoxlateError if it cannot be loaded.
    """

    def __init__(self) -> None:
        self._samples: list[Any] = []
        self._events: list[tuple[int, int, float]] = []  # type, position in the text from 0, seconds
        self._callback = _Callback(self._collect)  # a reference is kept because the library calls it
        self._load()
        self._library.espeak_Info.restype = ctypes.c_char_p
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceStruct))
        folder = ctypes.c_char_p()
        self.version: str = self._library.espeak_Info(ctypes.byref(folder)).decode()
        self._variants = Path((folder.value or b"").decode()) / "voices" / "!v"
        self.voices = self._list_voices()

    def _load(self) -> None:
        path, data = _find_library()
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise VoxlateError(f"espeak-ng's library {path} cannot be loaded ({error})") from None
        self.rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if self.rate_hz <= 0:
            raise VoxlateError(f"espeak-ng's library {path} failed to initialize; are its data files installed?")
        self._library.espeak_SetSynthCallback(self._callback)

    def restart(self, seed: int) -> None:
        """Reset the synthesizer (15 ms): flutter, noise and traces of voices carry over from one text to the next.

        Only reloading the library resets them, which is not possible on Windows.
        """
        if not hasattr(_ctypes, "dlclose"):
            return
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)
        self._load()
        ctypes.CDLL(None).srand(ctypes.c_uint(seed))
        if hasattr(self._library, "espeak_ng_SetRandSeed"):
            self._library.espeak_ng_SetRandSeed(ctypes.c_long(seed))

    @property
    def variants(self) -> list[str]:
        """Names of the variants. Each turns any voice into a different speaker."""
        return sorted(path.name for path in self._variants.iterdir()) if self._variants.is_dir() else []

    def speak(self, text: str, voice: Voice, prosody: Prosody) -> Waveform:
        """Return the speech of a text, (T,), mono at 16 kHz, with a short pause at the end; empty without words.

        VoxlateError if espeak-ng lacks the voice.
        """
        library, name = self._library, f"{voice.file}+{prosody.variant}" if prosody.variant else voice.file
        if library.espeak_SetVoiceByName(name.encode()):
            raise VoxlateError(f"espeak-ng has no voice {voice.name!r}")
        library.espeak_SetParameter(_RATE, prosody.words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, prosody.pitch, 0)
        self._samples.clear()
        self._events.clear()
        data = text.encode()
        library.espeak_Synth(
            data, ctypes.c_size_t(len(data) + 1), 0, _POSITION_CHARACTER, 0, _UTF8, None, None
        )  # fmt: skip
        library.espeak_Synchronize()
        if not self._samples:
            return np.zeros(0, np.float32)
        frame = av.AudioFrame.from_ndarray(np.concatenate(self._samples)[None], "s16", "mono")
        frame.sample_rate = self.rate_hz
        return np.concatenate(list(mono_chunks(iter([frame]))))

    def speak_words(self, text: str, voice: Voice, prosody: Prosody) -> tuple[Waveform, list[SpokenWord]]:
        """Return the speech of a text, as `speak` does, and the times of its words from espeak-ng's events.

        A word that espeak-ng speaks as part of the word before it has the times of that word.
        """
        waveform_T = self.speak(text, voice, prosody)
        events = [event for event in self._events if event[0] in (_WORD, _END)]
        words: list[SpokenWord] = []
        for match in re.finditer(r"\S+", text):
            # An end is at the last character of its clause, inside the last word.
            inside = [
                index
                for index, (kind, position, _) in enumerate(events)
                if kind == _WORD and match.start() <= position < match.end()
            ]
            if inside and inside[-1] + 1 < len(events):
                words.append(SpokenWord(match[0], events[inside[0]][2], events[inside[-1] + 1][2]))
            elif words:
                words.append(replace(words[-1], text=match[0]))
        return waveform_T, words

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events and events[index].type != _LIST_TERMINATED:
            event, index = events[index], index + 1
            self._events.append((event.type, event.text_position - 1, event.audio_position / 1000))
        return 0

    def _list_voices(self) -> list[Voice]:
        """Return the voices, the default one of each language first."""
        ranked, pointer, index = [], self._library.espeak_ListVoices(None), 0
        while pointer[index]:
            struct, index = pointer[index].contents, index + 1
            priority, name = struct.languages[0], struct.languages[1:].decode()
            try:
                language = find_language(name.split("-")[0]).code
            except VoxlateError:
                continue
            file = struct.identifier.decode()
            ranked.append((priority, len(file), name, Voice(name, language, file)))
        return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:3])]


@lru_cache(1)
def espeak() -> Espeak:
    """Return this process's espeak-ng. VoxlateError if it is not installed."""
    return Espeak()


def _find_library() -> tuple[str, bytes | None]:
    try:
        import espeakng_loader  # noqa: PLC0415 (an extra)
    except ImportError:
        path = find_library("espeak-ng")
        if path is None:
            raise VoxlateError(
                "espeak-ng is not installed; python3 -m pip install espeakng-loader, or install it with the system's "
                "packages (Debian: apt install espeak-ng)"
            ) from None
        return path, None
    return espeakng_loader.get_library_path(), str(Path(espeakng_loader.get_data_path()).parent).encode()
