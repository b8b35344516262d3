"""Load the models of ``voxlate translate``, in its own process or in one of Ray. Importing this does not load torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console

from voxlate.audio.sources import AudioSource
from voxlate.checkpoints.hub import find_model
from voxlate.decoding.results import Translation
from voxlate.decoding.subtitle_formats import SUBTITLE_WRITERS
from voxlate.errors import AudioError
from voxlate.languages import find_language
from voxlate.published_checkpoints import ALL_DIRECTIONS, AMBIGUOUS_TOKENS, published_targets

if TYPE_CHECKING:
    from voxlate.decoding.commands import TranslateCommand
    from voxlate.decoding.run_inputs import ResultStream
    from voxlate.decoding.translator import Translator
    from voxlate.models.cpu.malloc import FreedMemory

Progress: TypeAlias = Callable[[float, float], None]  # called with the seconds of audio done and read so far
Results: TypeAlias = Iterator[tuple[int, Translation | AudioError]]


def load_stream(
    command: "TranslateCommand",
    targets: Sequence[str],
    source: str | None,
    model: str | None,
    device: str,
    console: Console,
) -> "ResultStream":
    """Load the model, or the models that suit identified languages; return the function that processes inputs.

    `console` receives the name of a model that the user has not chosen, and notes about language tokens.
    """
    if model is not None:
        find_model(model)  # before torch is imported
    load = partial(_load, command, targets, device, console)
    freed = keep_freed_memory(device)
    if command.identifier is not None:
        find_model(command.identifier, named="with --identifier")
        from voxlate.decoding.auto import AutoTranslator  # noqa: PLC0415 (torch takes seconds)
        from voxlate.decoding.identifier import Identifier  # noqa: PLC0415

        auto = AutoTranslator(
            Identifier(command.identifier, device=device),
            command.model,
            command.search,
            command.segmentation_options,
            load,
            Console(quiet=True) if command.ray else console,  # each process of Ray identifies only some inputs
        )
        stream: Callable[..., Results] = auto.stream
    else:
        assert model is not None
        stream = partial(
            load(model, source).stream,
            source=source,
            options=command.search,
            segmentation=command.segmentation_options,
        )

    def bounded_stream(
        inputs: Iterable[AudioSource], *, to: Sequence[str | Sequence[str]], progress: Progress, **others: Any
    ) -> Results:
        report = bound_freed_memory(freed, progress)
        track, num_workers = command.audio_track, command.num_workers
        return stream(inputs, to=to, progress=report, audio_track=track, num_workers=num_workers, **others)

    return bounded_stream


def keep_freed_memory(device: str) -> "FreedMemory":
    """Let the process keep the memory that translation frees, if `device` is a CPU. Call before loading a model."""
    from voxlate.hardware import choose_device  # noqa: PLC0415 (torch takes seconds)
    from voxlate.models.cpu.malloc import FreedMemory  # noqa: PLC0415

    return FreedMemory(keep=choose_device(device).type == "cpu", spare_bytes=1 << 27, spare_share=0.25)


def bound_freed_memory(freed: "FreedMemory", progress: Progress | None = None) -> Progress:
    """Return a progress callback that bounds the freed memory after each segment and calls `progress`."""
    last_read = 0.0

    def report(done: float, read: float) -> None:
        nonlocal last_read
        if read == last_read:  # a segment is done
            freed.bound()
        last_read = read
        if progress is not None:
            progress(done, read)

    return report


def _load(
    command: "TranslateCommand", targets: Sequence[str], device: str, console: Console, model: str, source: str | None
) -> "Translator":
    """Load a model; print its name unless the user chose it, and a note about each ambiguous language token."""
    find_model(model)
    from voxlate.decoding.translator import Translator  # noqa: PLC0415 (torch takes seconds)

    translator = Translator(
        model,
        device=device,
        dtype=command.dtype,
        batch_size=command.batch_size,
        language_tokens=command.language_tokens,
        shortlist=command.shortlist,
        word_timestamps=command.word_timestamps or bool(SUBTITLE_WRITERS.keys() & command.formats),
        bilingual=command.bilingual,
    )
    if command.model is None:
        names = ", ".join(find_language(target).name for target in targets)
        console.print(f"model {model}: speech in {_source_name(targets, model, source)} → {names}")
    published = published_targets(str(translator.checkpoint.folder.resolve()))
    for target in targets:
        if published and target in AMBIGUOUS_TOKENS and target not in command.language_tokens:
            note = f"the token of {target} is ambiguous: {AMBIGUOUS_TOKENS[target]}"
            console.print(f"note: {note}; try --language-token {target}=…")
    return translator


def _source_name(targets: Sequence[str], model: str, source: str | None) -> str:
    if source:
        return find_language(source).name
    if model == ALL_DIRECTIONS:
        return "any of 22 languages"
    return "any of 21 languages" if "en" in targets else "English"
