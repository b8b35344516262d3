"""The commands ``voxlate translate`` and ``voxlate transcribe``. What is wrong is answered before torch is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console

from voxlate.checkpoints.generation_config import stated_search
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.model_identity import contents_sha256, model_identity
from voxlate.decoding.result_files import Settings
from voxlate.decoding.run_inputs import InputsCommand, RecipeOf, Stream, process
from voxlate.errors import VoxlateError
from voxlate.languages import UNSETTLED_SLOTS, default_checkpoint, find_language, published_targets
from voxlate.search_options import SearchOptions

if TYPE_CHECKING:
    from voxlate.decoding.translator import Translator

AUTO = "auto"  # as a source language: it is found out


@dataclass(frozen=True)
class TranslateCommand(InputsCommand):
    """What the user asked for; the fields are the options of the command line."""

    to: Sequence[str]
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


# What no result depends on, and what `_settings` and `translate` put in another way.
_NOT_SETTINGS = {
    *("audio", "formats", "output_dir", "overwrite", "batch_size"),
    *("to", "language", "model", "identifier", "slots", "shortlist", "search", "device"),
}
_ALL_DIRECTIONS = "facebook/wav2vec2-xls-r-2b-22-to-16"


def translate(command: TranslateCommand) -> int:
    """Translate; return 0 if every input was translated whole, 1 if some failed (each is named)."""
    targets = list(dict.fromkeys(find_language(language).code for language in command.to))
    is_auto = command.source == AUTO
    if is_auto != (command.identifier is not None):
        raise VoxlateError(
            "--from auto and --identifier belong together; expected both (a folder of `voxlate train-identifier`, or a "
            "model such as facebook/mms-lid-126), or neither"
        )
    source = find_language(command.source).code if command.source and not is_auto else None
    model = command.model if command.model or is_auto else _default_model(targets, source)

    def settings(target: str) -> Settings:
        identifier = model_identity(find_model(command.identifier)) if command.identifier else None
        shortlist = _shortlist_identity(model, target) if command.shortlist else None
        stated = stated_search(find_model(model)) if model else {}
        asked = {"slot": command.slots.get(target), "shortlist": shortlist, "identifier": identifier}
        return _settings("translate", command, model, **asdict(command.search.settled(stated)), **asked)

    def start(console: Console) -> tuple[Stream, RecipeOf]:
        load = partial(_load, command, targets, console)
        if command.identifier is not None:
            find_model(command.identifier, named="with --identifier")
            from voxlate.decoding.auto import AutoTranslator  # noqa: PLC0415 (torch takes seconds)
            from voxlate.decoding.identifier import Identifier  # noqa: PLC0415

            identifier = Identifier(command.identifier, device=command.device)
            several = targets[0] if len(targets) == 1 else targets
            auto = AutoTranslator(identifier, several, command.model, command.search, load, console)
            heard = partial(auto.stream, audio_track=command.audio_track)
            return lambda inputs, *, to, progress: heard(inputs, progress=progress), lambda _: {}  # noqa: ARG005
        assert model is not None
        translator = load(model, source)

        def recipe(target: str) -> dict[str, object]:
            return translator.recipe(command.search, target) | _chosen(command) if "json" in command.formats else {}

        stream = partial(translator.stream, source=source, options=command.search, audio_track=command.audio_track)
        return stream, recipe

    return process(command, targets, "translated", settings, start)


def transcribe(command: TranscribeCommand) -> int:
    """Transcribe; return 0 if every input was transcribed whole, 1 if some failed (each is named)."""
    language = find_language(command.language).code if command.language else None

    def start(_: Console) -> tuple[Stream, RecipeOf]:
        find_model(command.model)
        from voxlate.decoding.transcriber import Transcriber  # noqa: PLC0415 (torch takes seconds)

        transcriber = Transcriber(command.model, device=command.device, dtype=command.dtype)
        stream = partial(transcriber.stream, language=language, audio_track=command.audio_track)
        recipe = transcriber.recipe() | _chosen(command) if "json" in command.formats else {}
        return lambda inputs, *, to, progress: stream(inputs, progress=progress), lambda _: recipe  # noqa: ARG005

    def settings(_: str) -> Settings:
        return _settings("transcribe", command, command.model)

    return process(command, [language or "transcript"], "transcribed", settings, start)


def _settings(
    task: str, command: TranslateCommand | TranscribeCommand, model: str | None, **others: object
) -> Settings:
    """Return what results depend on besides the input: every option that is not known to change nothing."""
    options = {one.name: getattr(command, one.name) for one in fields(command) if one.name not in _NOT_SETTINGS}
    device = command.device.partition(":")[0]  # which one of several does not matter
    identity = model_identity(find_model(model)) if model else "of the direction"
    settings = {"command": task, "model": identity, "device": device, **options, **others}
    return {name: value for name, value in settings.items() if value is not None and value is not False}


def _chosen(command: InputsCommand) -> dict[str, object]:
    """Return what of the input was asked for."""
    return {} if command.audio_track is None else {"audio_track": command.audio_track}


def _shortlist_identity(model: str | None, target: str) -> str:
    path = find_model(model) / "shortlists" / f"{target}.json" if model else None
    return contents_sha256(path) if path is not None and path.is_file() else "none"


def _default_model(targets: Sequence[str], source: str | None) -> str:
    """Return the published model that translates into all of the languages."""
    models = {default_checkpoint(target, source) for target in targets}
    return models.pop() if len(models) == 1 else _ALL_DIRECTIONS


def _load(
    command: TranslateCommand, targets: Sequence[str], console: Console, model: str, source: str | None
) -> "Translator":
    find_model(model)
    from voxlate.decoding.translator import Translator  # noqa: PLC0415 (torch takes seconds)

    translator = Translator(
        model,
        device=command.device,
        dtype=command.dtype,
        batch_size=command.batch_size,
        slots=command.slots,
        shortlist=command.shortlist,
    )
    if command.model is None:
        names = ", ".join(find_language(target).name for target in targets)
        console.print(f"model {model}: speech in {_heard(targets, model, source)} → {names}")
    published = published_targets(str(translator.checkpoint.folder.resolve()))
    for target in targets:
        if published and target in UNSETTLED_SLOTS and target not in command.slots:
            note = f"the token of {target} is ambiguous: {UNSETTLED_SLOTS[target]}"
            console.print(f"note: {note}; try --slot {target}=…")
    return translator


def _heard(targets: Sequence[str], model: str, source: str | None) -> str:
    if source:
        return find_language(source).name
    if model == _ALL_DIRECTIONS:
        return "any of 22 languages"
    return "any of 21 languages" if "en" in targets else "English"
