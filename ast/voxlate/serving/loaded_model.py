"""A model in memory, which translates, transcribes or identifies for many requests at once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.checkpoints.config_json import architectures
from voxlate.checkpoints.ctc_files import CTC_FILE
from voxlate.checkpoints.ctc_models import load_ctc_head
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.lora import base_folder
from voxlate.decoding.identifier import Identifier
from voxlate.decoding.live_transcription import LiveTranscription
from voxlate.decoding.live_translation import LiveTranslation
from voxlate.decoding.results import Segment, Translation
from voxlate.decoding.transcriber import Transcriber
from voxlate.decoding.translator import Translator
from voxlate.errors import AudioError
from voxlate.json_files import entry_exists, read_json
from voxlate.serving.engine_options import EngineOptions
from voxlate.serving.request_stream import AudioRequest, RequestDone, UnsupportedRequestError

Completed = tuple[int, RequestDone]  # with the number of its request
OnSegment = Callable[[int, Segment], None]


class LoadedModel(Protocol):
    """What a model does for requests. `join` and `advance` yield what is complete."""

    targets: list[str]

    @property
    def can_transcribe(self) -> bool:
        """Whether the model transcribes, too."""

    def __len__(self) -> int:
        """Return the number of unfinished requests."""

    def join(self, number: int, audio: DecodedAudio, request: AudioRequest) -> Iterator[Completed]:
        """Add a request. UnsupportedRequestError if the model cannot do what it asks for."""

    def advance(self) -> Iterator[Completed]:
        """Do the next piece of work, which takes little time."""

    def drop(self, number: int) -> None:
        """Remove a request; its segments leave the search at once."""


class SpeechModel:
    """A model that translates, transcribes, or does both with one encoder. `on_segment` gets segments in order."""

    def __init__(self, model: str | Path, options: EngineOptions, on_segment: OnSegment) -> None:
        self._name = str(model)
        self._translation: LiveTranslation | None = None
        self._transcription: LiveTranscription | None = None
        self.targets: list[str] = []
        folder = base_folder(find_model(model))
        kinds = architectures(read_json(folder / "config.json", "expected the folder of a model"), folder)

        def report(number: int, _target: str | None, segment: Segment) -> None:
            on_segment(number, segment)

        if any(kind.endswith("ForCTC") for kind in kinds):
            ctc = Transcriber(model, device=options.device, dtype=options.dtype).checkpoint
            self._transcription = LiveTranscription(ctc, options.segmentation, report)
            return
        translator = Translator(
            model,
            device=options.device,
            dtype=options.dtype,
            batch_size=options.batch_size,
            language_tokens=options.language_tokens,
            word_timestamps=options.word_timestamps,
        )
        self.targets = sorted(translator.checkpoint.targets)
        self._translation = translator.live(options.search, options.segmentation, report)
        if entry_exists(folder / CTC_FILE):
            network = translator.checkpoint.model
            ctc = load_ctc_head(model, network.encoder, device=network.device, dtype=network.dtype)
            self._transcription = LiveTranscription(ctc, options.segmentation, report)

    @property
    def can_transcribe(self) -> bool:
        """Whether the model has a CTC head."""
        return self._transcription is not None

    def __len__(self) -> int:
        """Return the number of unfinished requests."""
        return sum(len(work) for work in self._works())

    def _works(self) -> list[LiveTranslation | LiveTranscription]:
        return [work for work in (self._translation, self._transcription) if work is not None]

    def join(self, number: int, audio: DecodedAudio, request: AudioRequest) -> Iterator[Completed]:
        """Add a request. UnsupportedRequestError if the model cannot do what it asks for."""
        if request.task == "transcribe":
            if self._transcription is None:
                raise UnsupportedRequestError(
                    f"{request.model} has no CTC head, which transcription needs; name a target language to translate"
                )
            return _done(self._transcription.join(number, audio, request.source_language))
        if self._translation is None:
            raise UnsupportedRequestError(f"{request.model} only transcribes; ask for a transcription")
        assert request.target_language is not None
        return _done(self._translation.join(number, audio, request.target_language, request.source_language))

    def advance(self) -> Iterator[Completed]:
        """Do the next piece of work of each kind."""
        for work in self._works():
            if len(work):
                yield from _done(work.advance())

    def drop(self, number: int) -> None:
        """Remove a request; its segments leave the search at once."""
        for work in self._works():
            work.drop(number)


class IdentifierModel:
    """A model that identifies the languages of inputs, as many at once as wait."""

    targets: list[str] = []  # noqa: RUF012 (never changed)
    can_transcribe = False

    def __init__(self, model: str | Path, options: EngineOptions) -> None:
        self._identifier = Identifier(model, device=options.device)
        self._speech = options.segmentation.speech
        self._waiting: dict[int, DecodedAudio] = {}

    def __len__(self) -> int:
        """Return the number of unfinished requests."""
        return len(self._waiting)

    def join(self, number: int, audio: DecodedAudio, _request: AudioRequest) -> Iterator[Completed]:
        """Add a request."""
        self._waiting[number] = audio
        return iter(())

    def advance(self) -> Iterator[Completed]:
        """Identify the languages of all that wait."""
        waiting, self._waiting = self._waiting, {}
        numbers = [*waiting]
        for index, found in self._identifier.stream([*waiting.values()], speech=self._speech):
            if isinstance(found, AudioError):
                raise found
            yield (
                numbers[index],
                RequestDone(waiting[numbers[index]].end_seconds, found.language, None, found.probabilities),
            )

    def drop(self, number: int) -> None:
        """Remove a request."""
        self._waiting.pop(number, None)


def _done(completed: Iterator[tuple[int, Translation]]) -> Iterator[Completed]:
    for number, result in completed:
        yield number, RequestDone(result.seconds, result.target_language or result.source_language, result)
