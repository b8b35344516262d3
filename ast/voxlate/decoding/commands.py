"""The commands ``voxlate translate``, ``transcribe`` and ``identify``. Options are checked before torch is imported."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

from voxlate.audio.sources import AudioSource
from voxlate.audio.speech_detection import SpeechOptions
from voxlate.checkpoints.generation_config import read_search_defaults
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.model_identity import contents_sha256, model_identity
from voxlate.decoding.command_streams import Results, load_stream
from voxlate.decoding.inputs import find_inputs
from voxlate.decoding.launched_processes import join_processes
from voxlate.decoding.ray_cluster import check_ray
from voxlate.decoding.ray_stream import RayStream
from voxlate.decoding.result_files import Settings
from voxlate.decoding.run_inputs import InputsCommand, ResultStream, run_inputs
from voxlate.decoding.segmenting import SegmentationOptions
from voxlate.decoding.writers import message_line, one_cell
from voxlate.errors import AudioError, VoxlateError
from voxlate.languages import find_language
from voxlate.progress import TimeEstimate, progress_lines, stderr
from voxlate.published_checkpoints import ALL_DIRECTIONS, default_checkpoint
from voxlate.search_options import SearchOptions

if TYPE_CHECKING:
    from voxlate.decoding.identifier import Identifier

AUTO = "auto"  # as a source language: identify it


@dataclass(frozen=True)
class TranslateCommand(InputsCommand):
    """The options of ``voxlate translate``."""

    to: Sequence[str]
    source: str | None
    model: str | None
    search: SearchOptions
    dtype: str
    batch_size: int | None
    language_tokens: Mapping[str, int | str]
    shortlist: bool
    segmentation_options: SegmentationOptions
    identifier: str | None = None
    word_timestamps: bool = False
    bilingual: bool = False
    ray: str | None = None  # address of a cluster


@dataclass(frozen=True)
class TranscribeCommand(InputsCommand):
    """The options of ``voxlate transcribe``."""

    model: str
    language: str | None
    dtype: str
    segmentation_options: SegmentationOptions
    batch_size: int | None = None


# Options that do not change results, and those that `_settings` and `translate` record in another form.
_NOT_RECORDED = {
    *("audio", "formats", "output_dir", "overwrite", "batch_size", "num_workers"),
    *(
        "to",
        "language",
        "model",
        "identifier",
        "language_tokens",
        "shortlist",
        "search",
        "segmentation_options",
        "subtitles",
        "device",
        "ray",
    ),
}


def translate(command: TranslateCommand) -> int:
    """Translate the inputs; return the exit code (see `run_inputs`)."""
    targets = list(dict.fromkeys(find_language(language).code for language in command.to))
    is_auto = command.source == AUTO
    if is_auto != (command.identifier is not None):
        raise VoxlateError(
            "--from auto and --identifier must be used together; expected both (the identifier is a folder written by "
            "`voxlate train-identifier`, or a model such as facebook/mms-lid-126), or neither"
        )
    source = find_language(command.source).code if command.source and not is_auto else None
    model = command.model if command.model or is_auto else _default_model(targets, source)

    def settings(target: str) -> Settings:
        defaults = read_search_defaults(find_model(model)) if model else {}
        return _settings(
            "translate",
            command,
            model,
            **command.search.resolve(defaults).recorded(),
            slot=command.language_tokens.get(target),
            shortlist=_shortlist_identity(model, target) if command.shortlist else None,
            identifier=model_identity(find_model(command.identifier)) if command.identifier else None,
        )

    if command.ray is not None:
        check_ray(command.device)
    processes = join_processes(command)

    def start(console: Console) -> ResultStream:
        load = partial(load_stream, command, targets, source, model)
        if command.ray is None:
            return load(processes.device or command.device, console)
        for name in filter(None, (model, command.identifier)):
            find_model(name)
        return RayStream(
            command.ray,
            command.device,
            load,
            console,
            command.segmentation_options.speech,
            command.audio_track,
            longest_first=command.output_dir is not None,  # standard output has the order of the inputs
        )

    return run_inputs(command, targets, "translated", settings, start, processes)


def transcribe(command: TranscribeCommand) -> int:
    """Transcribe the inputs; return the exit code (see `run_inputs`)."""
    language = find_language(command.language).code if command.language else None

    def settings(_: str) -> Settings:
        return _settings("transcribe", command, command.model)

    processes = join_processes(command)

    def start(_: Console) -> ResultStream:
        find_model(command.model)
        from voxlate.decoding.transcriber import Transcriber  # noqa: PLC0415 (torch takes seconds)

        device = processes.device or command.device
        transcriber = Transcriber(command.model, device=device, dtype=command.dtype, batch_size=command.batch_size)
        return _without_targets(
            partial(
                transcriber.stream,
                language=language,
                segmentation=command.segmentation_options,
                audio_track=command.audio_track,
                num_workers=command.num_workers,
            )
        )

    return run_inputs(command, [language or "transcript"], "transcribed", settings, start, processes)


def print_languages(
    audio: Sequence[str],
    identifier: "Identifier",
    audio_track: int | str | None = None,
    *,
    vad: bool = True,
    num_workers: int | None = None,
) -> int:
    """Print the name, language and probability of each input, tab-separated; return 0, or 1 if any input failed."""
    console = stderr()
    inputs = find_inputs(audio)
    failures: list[AudioError] = [*inputs.failed]
    paths = [item.path for item in inputs.items if item.path is not None]
    if len(paths) != len(inputs.items):
        raise VoxlateError("voxlate identify takes files and folders; '-' is for voxlate translate")
    estimate = TimeEstimate([], f"0 of {len(paths)} inputs identified")
    with progress_lines(console, estimate.line):
        results = identifier.stream(paths, audio_track=audio_track, speech=SpeechOptions(vad), num_workers=num_workers)
        for number, (index, result) in enumerate(results, start=1):
            estimate.state = f"{number} of {len(paths)} inputs identified"
            if isinstance(result, AudioError):
                failures.append(result)
                continue
            name = inputs.items[index].name
            for note in result.notes:
                console.print(message_line(f"note: {name}: {note}"))
            language = result.language or ""
            probability = f"{result.probabilities[language]:.3f}" if language else ""
            print(f"{one_cell(name)}\t{language}\t{probability}", flush=True)
    for error in failures:
        console.print(f"error: {message_line(str(error))}", style="red")
    return 1 if failures else 0


def _without_targets(stream: Callable[..., Results]) -> ResultStream:
    """Adapt a stream without target languages to `ResultStream`."""

    def without_targets(
        inputs: Iterable[AudioSource],
        *,
        to: Sequence[str | Sequence[str]],  # noqa: ARG001
        **others: Any,
    ) -> Results:
        return stream(inputs, **others)

    return without_targets


def _settings(
    task: str, command: TranslateCommand | TranscribeCommand, model: str | None, **others: object
) -> Settings:
    """Return everything that results depend on besides the input, under the names that journals use."""
    names = [field.name for field in fields(command) if field.name not in _NOT_RECORDED]
    options = {name: getattr(command, name) for name in names}
    device = command.device.partition(":")[0]  # which of several GPUs does not matter
    identity = model_identity(find_model(model)) if model else "of the direction"
    settings = {
        "command": task,
        "model": identity,
        "device": device,
        **options,
        **command.segmentation_options.changed(),
        **command.subtitles.recorded(),
        **others,
    }
    return {name: value for name, value in settings.items() if value is not None and value is not False}


def _shortlist_identity(model: str | None, target: str) -> str:
    path = find_model(model) / "shortlists" / f"{target}.json" if model else None
    return contents_sha256(path) if path is not None and path.is_file() else "none"


def _default_model(targets: Sequence[str], source: str | None) -> str:
    """Return the published model that translates into all targets."""
    models = {default_checkpoint(target, source) for target in targets}
    return models.pop() if len(models) == 1 else ALL_DIRECTIONS
