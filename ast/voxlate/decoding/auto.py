"""Translate speech in unknown languages: identify the language of each input, then choose a model for it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from voxlate.audio.loading import AudioSource
from voxlate.audio.segmentation import Span
from voxlate.audio.tracks import AudioTrack
from voxlate.decoding.identifier import Identifier
from voxlate.decoding.results import Recipe, Segment, SpanResult, Translation
from voxlate.decoding.segment_journal import KnownSegments, ResumableSegments
from voxlate.decoding.segmenting import SegmentationOptions
from voxlate.decoding.target_languages import target_codes
from voxlate.decoding.translator import Translator
from voxlate.errors import AudioError, VoxlateError
from voxlate.languages import find_language
from voxlate.published_checkpoints import default_checkpoint
from voxlate.search_options import SearchOptions


class AutoTranslator:
    """Identifies the language of each input, then translates it. Each input is read twice.

    - `model`: translates all inputs; if None, the published checkpoint of each input's direction does.
    - `load`: returns the translator for a model and a source language, which is None if its inputs have several.
    """

    def __init__(
        self,
        identifier: Identifier,
        model: str | None,
        options: SearchOptions,
        segmentation: SegmentationOptions,
        load: Callable[[str, str | None], Translator],
        console: Console,
    ) -> None:
        self._identifier, self._model, self._load, self._console = identifier, model, load, console
        self._options, self._segmentation = options, segmentation

    def stream(
        self,
        inputs: Iterable[AudioSource],
        *,
        to: str | Sequence[str | Sequence[str]],
        progress: Callable[[float, float], None] | None = None,
        audio_track: AudioTrack | None = None,
        on_segment: Callable[[int, str, Segment], None] | None = None,
        resume: ResumableSegments | None = None,
        num_workers: int | None = 0,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Yield the index of an input and a result as soon as it is complete, one per target language.

        The arguments are those of `Translator.stream`. If a direction has no model, the input yields an AudioError
        after its other translations.
        """
        items = list(inputs)
        wanted = [target_codes(item) for item in ([to] * len(items) if isinstance(to, str) else to)]
        targets_by_model: dict[str, dict[int, list[str]]] = {}  # model -> index of an input -> target languages
        languages: list[str | None] = [None] * len(items)
        errors: dict[int, list[str]] = {}
        speech = self._segmentation.speech
        for index, identified in self._identifier.stream(
            items, audio_track=audio_track, speech=speech, num_workers=num_workers
        ):
            if isinstance(identified, AudioError):
                yield index, identified
                continue
            languages[index] = identified.language
            for target in wanted[index]:
                try:
                    model = self._model or default_checkpoint(target, identified.language)
                except VoxlateError as error:
                    errors.setdefault(index, []).append(str(error))
                else:
                    targets_by_model.setdefault(model, {}).setdefault(index, []).append(target)
        counts = Counter(find_language(language).name for language in languages if language).most_common()
        names = ", ".join(f"{name} {count}" for name, count in counts)
        self._console.print(f"identified: {names or 'no speech'}")
        for model, targets in targets_by_model.items():
            sources = {languages[index] for index in targets}
            translator = self._load(model, sources.pop() if len(sources) == 1 else None)
            indices = list(targets)
            for position, result in translator.stream(
                [items[index] for index in indices],
                to=[*targets.values()],
                source=[languages[index] for index in indices],
                options=self._options,
                segmentation=self._segmentation,
                progress=progress,
                audio_track=audio_track,
                on_segment=on_segment and partial(_with_index, on_segment, indices),
                resume=resume and _Renumbered(resume, indices),
                num_workers=num_workers,
            ):
                yield indices[position], self._with_identifier(result)
        for index, reasons in errors.items():
            yield index, AudioError(f"{_input_name(items[index])}: {'; '.join(dict.fromkeys(reasons))}")

    def _with_identifier(self, result: Translation | AudioError) -> Translation | AudioError:
        """Add the identifier's recipe to the recipe of a translation."""
        if isinstance(result, AudioError):
            return result
        return replace(result, recipe=Recipe(lambda: {**result.recipe, **self._identifier.recipe()}))


def _with_index(
    on_segment: Callable[[int, str, Segment], None], indices: Sequence[int], position: int, *segment: Any
) -> None:
    on_segment(indices[position], *segment)


@dataclass(frozen=True)
class _Renumbered:
    """Segments of some of the inputs, whose positions have other `indices` among all inputs."""

    segments: ResumableSegments
    indices: Sequence[int]

    def known(self, index: int, seconds: float) -> KnownSegments:
        return self.segments.known(self.indices[index], seconds)

    def put_spans(self, index: int, spans: Sequence[Span], until: int) -> None:
        self.segments.put_spans(self.indices[index], spans, until)

    def put_span(self, index: int, language: str | None, span: Span, result: SpanResult) -> None:
        self.segments.put_span(self.indices[index], language, span, result)


def _input_name(item: AudioSource) -> str:
    return str(item if isinstance(item, Path) else getattr(item, "name", "audio"))
