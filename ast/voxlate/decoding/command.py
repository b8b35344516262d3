"""The commands ``voxlate translate`` and ``voxlate transcribe``. What is wrong is answered before torch is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from voxlate.decoding.options import SearchOptions
from voxlate.decoding.process import InputsCommand, Stream, process
from voxlate.errors import VoxlateError
from voxlate.languages import UNSETTLED_SLOTS, default_checkpoint, find_language, published_targets
from voxlate.models.hub import find_model

if TYPE_CHECKING:
    from voxlate.decoding.engine import Translator

AUTO = "auto"  # as a source language: it is found out


@dataclass(frozen=True)
class TranslateCommand(InputsCommand):
    """What the user asked for; the fields are the options of the command line."""

    to: str
    source: str | None
    model: str | None
    search: SearchOptions
    device: str
    dtype: str
    batch_size: int | None
    slots: Mapping[str, int | str]
    shortlist: bool
    identifier: str | None = None


@dataclass(frozen=True)
class TranscribeCommand(InputsCommand):
    """What the user asked for; the fields are the options of the command line."""

    model: str
    language: str | None
    device: str
    dtype: str


def translate(command: TranslateCommand) -> int:
    """Translate; return 0 if every input was translated whole, 1 if some failed (each is named)."""
    target = find_language(command.to).code
    auto = command.source == AUTO
    if auto != (command.identifier is not None):
        raise VoxlateError(
            "--from auto and --identifier belong together; expected both (a folder of `voxlate train-identifier`, or a "
            "model such as facebook/mms-lid-126), or neither"
        )
    source = find_language(command.source).code if command.source and not auto else None

    def start(console: Console) -> tuple[Stream, dict[str, object]]:
        if command.identifier is not None:
            find_model(command.identifier, named="with --identifier")
            from voxlate.decoding.auto import AutoTranslator  # noqa: PLC0415 (torch takes seconds)
            from voxlate.decoding.identification import Identifier  # noqa: PLC0415

            identifier = Identifier(command.identifier, device=command.device)
            load = partial(_load, command, target, console)
            auto_translator = AutoTranslator(identifier, target, command.model, command.search, load, console)
            return partial(auto_translator.stream, audio_track=command.audio_track), {}
        translator = _load(command, target, console, command.model or default_checkpoint(target, source), source)
        recipe = translator.recipe(command.search, target) | _chosen(command) if "json" in command.formats else {}
        stream = partial(
            translator.stream, to=target, source=source, options=command.search, audio_track=command.audio_track
        )
        return stream, recipe

    return process(command, target, "translated", start)


def transcribe(command: TranscribeCommand) -> int:
    """Transcribe; return 0 if every input was transcribed whole, 1 if some failed (each is named)."""
    language = find_language(command.language).code if command.language else None

    def start(_: Console) -> tuple[Stream, dict[str, object]]:
        find_model(command.model)
        from voxlate.decoding.transcription import Transcriber  # noqa: PLC0415 (torch takes seconds)

        transcriber = Transcriber(command.model, device=command.device, dtype=command.dtype)
        stream = partial(transcriber.stream, language=language, audio_track=command.audio_track)
        return stream, transcriber.recipe() | _chosen(command)

    return process(command, language or "transcript", "transcribed", start)


def _chosen(command: InputsCommand) -> dict[str, object]:
    """Return what of the input was asked for."""
    return {} if command.audio_track is None else {"audio_track": command.audio_track}


def _load(command: TranslateCommand, target: str, console: Console, model: str, source: str | None) -> "Translator":
    find_model(model)
    from voxlate.decoding.engine import Translator  # noqa: PLC0415 (torch takes seconds)

    translator = Translator(
        model,
        device=command.device,
        dtype=command.dtype,
        batch_size=command.batch_size,
        slots=command.slots,
        shortlist=command.shortlist,
    )
    if command.model is None:
        heard = find_language(source).name if source else ("any of 21 languages" if target == "en" else "English")
        console.print(f"model {model}: speech in {heard} → {find_language(target).name}")
    published = published_targets(str(translator.checkpoint.folder.resolve()))
    if published and target in UNSETTLED_SLOTS and target not in command.slots:
        console.print(f"note: the slot of {target} is not settled: {UNSETTLED_SLOTS[target]}; try --slot {target}=…")
    return translator
