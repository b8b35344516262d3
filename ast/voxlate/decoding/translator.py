"""From audio inputs to translations: read, cut, search, and put everything back in its place."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import overload

import numpy as np
import torch
import transformers

import voxlate
from voxlate.audio.loading import AudioSource, decoder_fingerprint
from voxlate.audio.prefetch import DecodedAudio, Span, read_ahead
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.generation_config import stated_search
from voxlate.checkpoints.hub import find_model, hub_revision
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.checkpoints.shortlist import find_shortlists, shortlists_sha256
from voxlate.checkpoints.weights import adapter_recipe, weight_files, weights_sha256
from voxlate.decoding.mbr import by_agreement
from voxlate.decoding.output_layer import Vocabulary, shortlisted
from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.decoding.schedule import AudioSegment, Schedule
from voxlate.decoding.search import Hypothesis
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import INT8, choose_device, choose_dtype
from voxlate.languages import find_language
from voxlate.models.cpu.layers import to_int8, to_packed
from voxlate.models.cpu.malloc import FreedMemory
from voxlate.provenance import settings_sha256, source_commit
from voxlate.search_options import SearchOptions, SearchSettings
from voxlate.tokenizer import Tokenizer

DEFAULT_SEARCH = SearchOptions()
_BATCH_SIZES = {"cpu": 64, "cuda": 256}  # if the user does not say
_WINDOW_BATCHES = 4  # how many batches are read ahead, so that utterances of like length meet

Progress = Callable[[float, float], None]


@dataclass
class _Job:
    """One input on its way into one language: its sound, and the hypotheses of its spans as they come."""

    sound: DecodedAudio
    target: str
    source: str | None
    found: dict[Span, list[Hypothesis]] = field(default_factory=dict)

    def translation(self, tokenizer: Tokenizer, options: SearchSettings) -> Translation:
        sound = self.sound
        segments = tuple(
            Segment(sound.clock.seconds(start), sound.clock.seconds(end), _candidates(found, tokenizer, options))
            for start, end in sound.spans
            for found in [self.found[start, end]]
        )
        full = sum(
            len(self.found[span][0].ids) + 1 >= options.max_length for span in sound.spans
        )  # and the start token
        notes = sound.notes + ((_cut_off(full, len(segments), options.max_length),) if full else ())
        return Translation(
            sound.name, sound.end_seconds, self.target, segments, self.source, sound.warnings, notes=notes
        )


def _cut_off(full: int, segments: int, longest: int) -> str:
    texts = "its translation" if segments == 1 else f"the translation of {full} of its {segments} segments"
    return f"{texts} reached the maximum length, {longest} tokens, and may be cut off; see --max-length"


def target_codes(to: str | Sequence[str]) -> tuple[str, ...]:
    """Return the codes of one language or several, each once. VoxlateError where one is unknown, or there is none."""
    codes = dict.fromkeys(find_language(name).code for name in ([to] if isinstance(to, str) else to))
    if not codes:
        raise VoxlateError("an input has no language to translate into; expected one or more")
    return tuple(codes)


def _candidates(found: list[Hypothesis], tokenizer: Tokenizer, options: SearchSettings) -> tuple[Candidate, ...]:
    candidates = [Candidate(tokenizer.decode(hypothesis.ids), hypothesis.score) for hypothesis in found]
    if options.mbr:
        order = by_agreement([one.text for one in candidates], [hypothesis.log_prob for hypothesis in found])
        candidates = [candidates[place] for place in order]
    return tuple(candidates[: options.n_best])


class _Report:
    """Tells a progress function the seconds translated and the seconds read."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._translated = self._read = 0.0

    def read(self, seconds: float) -> None:
        self._read += seconds
        self._tell()

    def translated(self, seconds: float) -> None:
        self._translated += seconds
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._translated, self._read)


class Translator:
    """A loaded model that translates audio.

    `model` is a folder or Hub id; `device` and `dtype` as in `voxlate translate`; `batch_size` is the number of
    utterances searched at once, by default 64, on a GPU 256; `slots` overrides target languages' token ids (see
    `load_checkpoint`); with `shortlist` only pieces of the target language are searched, which `voxlate prepare
    shortlist` found.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | None = None,
        slots: Mapping[str, int | str] | None = None,
        shortlist: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise VoxlateError(f"batch_size is {batch_size}, expected 1 or more")
        self._device = choose_device(device)
        self._batch_size = batch_size or _BATCH_SIZES.get(self._device.type, _BATCH_SIZES["cpu"])
        self._shortlist = shortlist
        self._freed = FreedMemory(keep=self._device.type == "cpu", spare_bytes=1 << 27, spare_share=0.25)
        folder = find_model(model)
        self._stated = stated_search(folder)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        precision = choose_dtype(dtype, self._device, weight_bytes)
        self._dtype = INT8 if dtype == INT8 else str(precision).removeprefix("torch.")
        checkpoint = load_checkpoint(folder, device=self._device, dtype=precision, slots=slots)
        if dtype == INT8:
            to_int8(checkpoint.model)
        else:
            to_packed(checkpoint.model)
        self.checkpoint = replace(checkpoint, name=str(model))

    @overload  # a str is a sequence, too, but comes first
    def translate(  # type: ignore[overload-overlap]
        self,
        audio: AudioSource | np.ndarray,
        *,
        to: str,
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        audio_track: AudioTrack | None = None,
    ) -> Translation: ...

    @overload
    def translate(
        self,
        audio: AudioSource | np.ndarray,
        *,
        to: Sequence[str],
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        audio_track: AudioTrack | None = None,
    ) -> list[Translation]: ...

    def translate(
        self,
        audio: AudioSource | np.ndarray,
        *,
        to: str | Sequence[str],
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        audio_track: AudioTrack | None = None,
    ) -> Translation | list[Translation]:
        """Translate one input: a path, bytes, a binary file, or a mono 16 kHz float array. Raises AudioError.

        `to` is one language, or several: then there is a list of translations, in the order of these languages.
        """
        found: dict[str | None, Translation] = {}
        for _, result in self.stream([audio], to=[to], source=source, options=options, audio_track=audio_track):
            if isinstance(result, AudioError):
                raise result
            found[result.target_language] = result
        if isinstance(to, str):
            [only] = found.values()
            return only
        return [found[language] for language in target_codes(to)]

    def stream(
        self,
        inputs: Iterable[AudioSource | np.ndarray],
        *,
        to: str | Sequence[str | Sequence[str]],
        source: str | Sequence[str | None] | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        progress: Progress | None = None,
        audio_track: AudioTrack | None = None,
        whole: bool = False,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Translate many inputs; yield each one's index and result as soon as it is complete.

        `to` is one language, or a sequence with an item for each input: its language, or its several languages. An
        input is encoded once and yields a translation for each of its languages; one that cannot be read yields its
        AudioError, once. `source` is one language or one for each input, and is only noted.
        Utterances of many inputs share batches, sorted by length, which changes no result. Inputs are read as they
        are needed. `progress` is called with the seconds translated and the seconds read so far.
        `audio_track` is the number, from 1, or the language of the track to take of files that have several. Audio is
        cut at pauses of a second or more; with `whole` (one utterance each, as in test sets), from 30 s on only.
        """
        if isinstance(inputs, str | bytes | PathLike):
            raise VoxlateError(f"inputs is one {type(inputs).__name__}, expected several; put it into a list")
        languages = [target_codes(item) for item in ([to] if isinstance(to, str) else to)]
        tag_ids = {language: self.checkpoint.target_id(language) for item in languages for language in item}
        report = _Report(progress)
        settings = options.settled(self._stated)
        settings = replace(
            settings, max_length=min(settings.max_length, self.checkpoint.model.decoder.config.max_positions)
        )
        searched = replace(settings, n_best=settings.beam) if settings.mbr else settings
        vocabulary = self._vocabulary(tag_ids)
        schedule = Schedule(self.checkpoint.model, searched, self._batch_size, vocabulary, self._freed)
        jobs: dict[tuple[int, int], _Job] = {}
        waiting: list[AudioSegment] = []

        def complete(found: Iterator[tuple[AudioSegment, int, list[Hypothesis]]]) -> Iterator[tuple[int, Translation]]:
            for piece, tag, hypotheses in found:
                report.translated(piece.seconds / len(piece.tag_ids))
                job = jobs[piece.job, tag]
                job.found[piece.span] = hypotheses
                if len(job.found) == len(job.sound.spans):
                    yield piece.job, jobs.pop((piece.job, tag)).translation(self.checkpoint.tokenizer, settings)

        for index, sound in enumerate(read_ahead(inputs, audio_track=audio_track, whole=whole)):
            if not isinstance(to, str) and index >= len(languages):
                raise VoxlateError(f"`to` has {len(to)} languages, expected one for each input, and there are more")
            if isinstance(sound, AudioError):
                yield index, sound
                continue
            report.read(sound.seconds)
            report.translated(sound.silent_seconds)
            spoken = source if source is None or isinstance(source, str) else source[index]
            wanted = languages[0] if isinstance(to, str) else languages[index]
            for tag, language in enumerate(wanted):
                job = _Job(sound, language, spoken)
                if sound.spans:
                    jobs[index, tag] = job
                else:
                    yield index, job.translation(self.checkpoint.tokenizer, settings)
            tags = tuple(tag_ids[language] for language in wanted)
            waiting += [AudioSegment(index, span, sound, tags) for span in sound.spans]
            while len(waiting) >= self._batch_size * _WINDOW_BATCHES:
                window = waiting[: self._batch_size * _WINDOW_BATCHES]
                del waiting[: len(window)]
                yield from complete(schedule.translate(window))
        yield from complete(schedule.translate(waiting))
        yield from complete(schedule.finish())

    def recipe(self, options: SearchOptions, to: str | Sequence[str] | None = None) -> dict[str, object]:
        """Return what a result depends on, besides the audio: model, search, precision, decoder, versions.

        `slots` are the token ids of the target languages in `to` (None: of all), `shortlist` the SHA-256 of their
        files, or False where all pieces are searched.
        """
        languages = sorted(self.checkpoint.targets) if to is None else target_codes(to)
        return {
            "voxlate": voxlate.__version__,
            "commit": source_commit(),
            "model": self.checkpoint.name,
            "revision": hub_revision(self.checkpoint.folder),
            "weights_sha256": self._weights_sha256,
            **self._adapter_recipe,
            "settings_sha256": settings_sha256(self.checkpoint.folder),
            "slots": {language: self.checkpoint.target_id(language) for language in languages},
            **{f"search_{name}": value for name, value in asdict(options.settled(self._stated)).items()},
            "shortlist": shortlists_sha256(self.checkpoint.folder, languages) if self._shortlist else False,
            "dtype": self._dtype,
            "device": self._device.type,
            "audio_decoder": decoder_fingerprint(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def _vocabulary(self, tag_ids: Mapping[str, int]) -> Vocabulary:
        if not self._shortlist:
            return self._whole_vocabulary
        found = find_shortlists(self.checkpoint.folder, self.checkpoint.tokenizer, tag_ids)
        ids_by_tag = {tag_ids[language]: shortlist.ids for language, shortlist in found.items()}
        return shortlisted(self.checkpoint.model.decoder.output_weight, ids_by_tag).with_rounded()

    @cached_property
    def _whole_vocabulary(self) -> Vocabulary:
        return Vocabulary(self.checkpoint.model.decoder.output_weight).with_rounded()

    @cached_property
    def _adapter_recipe(self) -> dict[str, object]:
        return {} if self.checkpoint.adapter is None else adapter_recipe(self.checkpoint.adapter)

    @cached_property
    def _weights_sha256(self) -> str:
        return weights_sha256(self.checkpoint.folder)
