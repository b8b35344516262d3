"""Translate audio inputs: decode, cut into segments, search, assemble."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.audio.prefetch import read_ahead
from voxlate.audio.python_inputs import AudioInput, check_is_several, is_list
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.generation_config import read_search_defaults
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.checkpoints.segmenter_files import load_segmenter
from voxlate.checkpoints.shortlist import find_shortlists
from voxlate.checkpoints.training_statistics import TrainingStatistics, read_training_statistics
from voxlate.checkpoints.weights import weight_files
from voxlate.decoding.assembly import PendingTranslation
from voxlate.decoding.bilingual import BilingualModel, check_bilingual
from voxlate.decoding.coverage import TokenRates
from voxlate.decoding.live_translation import CUT_SECONDS, LiveTranslation
from voxlate.decoding.output_layer import Vocabulary, shortlisted
from voxlate.decoding.recipes import ModelFiles, translation_recipe
from voxlate.decoding.results import Recipe, Translation, result_or_raise
from voxlate.decoding.review import Review
from voxlate.decoding.schedule import Schedule
from voxlate.decoding.segment_batches import choose_batch_size
from voxlate.decoding.segment_journal import ResumableSegments
from voxlate.decoding.segmenting import DEFAULT_SEGMENTATION, SegmentationOptions, Segmenter, clip_seconds
from voxlate.decoding.step_graphs import step_graphs
from voxlate.decoding.target_languages import target_codes, target_languages
from voxlate.decoding.translation_stream import OnSegment, TranslationStream
from voxlate.deprecation import renamed_keywords
from voxlate.errors import AudioError, VoxlateError, check_type
from voxlate.hardware import INT8, choose_device, choose_dtype
from voxlate.models.fast_path import install_fast_path
from voxlate.models.sentence_boundaries import SentenceBoundaries
from voxlate.search_options import SearchOptions, SearchSettings

DEFAULT_SEARCH = SearchOptions()
_BATCH_SIZES = {"cpu": 64, "cuda": 256}


class Translator:
    """A loaded model that translates speech.

    - `model`: a folder, Hub id or id@revision of a speech translation model.
    - `device`: auto, cpu, cuda, cuda:1, …
    - `dtype`: auto, float32, bfloat16, float16, or int8 on a CPU.
    - `batch_size`: maximum number of segments in a search, 64 by default, 256 on a GPU. It does not change results.
    - `language_tokens`: the token of a target language, by id or mBART tag: ``{"lv": 250016}`` or ``{"lv": "lv_LV"}``.
      It overrides that of the model. `slots`, the former name, is deprecated.
    - `shortlist`: search only the vocabulary that `voxlate prepare shortlist` selected for the target language.
    - `word_timestamps`: also find when each word of a translation is spoken (see `Segment.words`).
    - `bilingual`: also transcribe each segment, for bilingual subtitles. The model must have a CTC head.

    VoxlateError if the model cannot be found or loaded, or an argument is wrong.

        translator = Translator("facebook/wav2vec2-xls-r-300m-en-to-15")
        translation = translator.translate("talk.mp3", to="de")
        for segment in translation.segments:
            print(segment.start, segment.end, segment.text)
    """

    @renamed_keywords(slots="language_tokens")
    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | None = None,
        language_tokens: Mapping[str, int | str] | None = None,
        shortlist: bool = False,
        word_timestamps: bool = False,
        bilingual: bool = False,
    ) -> None:
        self._device = choose_device(device)
        self._batch_size = choose_batch_size(batch_size, self._device.type, _BATCH_SIZES)
        self._shortlist = shortlist
        folder = find_model(model)
        if bilingual:
            check_bilingual(model, folder)
        self._model_defaults = read_search_defaults(folder)
        weight_bytes = sum(path.stat().st_size for path in weight_files(folder))
        precision = choose_dtype(dtype, self._device, weight_bytes)
        self._dtype = INT8 if dtype == INT8 else str(precision).removeprefix("torch.")
        checkpoint = load_checkpoint(folder, device=self._device, dtype=precision, language_tokens=language_tokens)
        install_fast_path(checkpoint.model, "int8" if dtype == INT8 else "packed")
        self._graphs = step_graphs(self._device)
        self.checkpoint = replace(checkpoint, name=str(model))
        self._files = ModelFiles(str(model), checkpoint.folder, checkpoint.adapter)
        self._word_timestamps = word_timestamps
        self._bilingual = BilingualModel(self.checkpoint) if bilingual else None

    @overload
    def translate(
        self,
        audio: list[Any] | tuple[Any, ...],
        *,
        to: str | Sequence[str],
        source: str | Sequence[str | None] | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> list[Translation]: ...

    @overload  # a str is a sequence, too, but comes first
    def translate(  # type: ignore[overload-overlap]
        self,
        audio: AudioInput,
        *,
        to: str,
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> Translation: ...

    @overload
    def translate(
        self,
        audio: AudioInput,
        *,
        to: Sequence[str],
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> list[Translation]: ...

    def translate(
        self,
        audio: AudioInput | list[Any] | tuple[Any, ...],
        *,
        to: str | Sequence[str],
        source: str | Sequence[str | None] | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
    ) -> Translation | list[Translation]:
        """Translate one input, or each input of a list. For inputs and arguments see `stream`.

        - One input and one language give one translation.
        - One input and a list of languages give a list, in the order of the languages.
        - A list of inputs gives a list, in their order. `to` is one language, or a language for each input.

        AudioError if an input cannot be read. `stream` yields it instead, and continues with the other inputs.
        """
        several_inputs, several_targets = is_list(audio), not isinstance(to, str)
        results: dict[tuple[int, str | None], Translation] = {}
        for index, result in self.stream(
            audio if several_inputs else [audio],  # type: ignore[arg-type, list-item]
            to=to if several_inputs else [to],
            source=source,
            options=options,
            segmentation=segmentation,
            sampling_rate=sampling_rate,
            audio_track=audio_track,
        ):
            translation = result_or_raise(result)
            results[index, translation.target_language] = translation
        if several_inputs:
            return [results[key] for key in sorted(results, key=lambda key: key[0])]
        if several_targets:
            return [results[0, language] for language in target_codes(to)]
        [translation] = results.values()
        return translation

    def stream(
        self,
        inputs: Iterable[AudioInput | DecodedAudio],
        *,
        to: str | Sequence[str | Sequence[str]],
        source: str | Sequence[str | None] | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        segmentation: SegmentationOptions = DEFAULT_SEGMENTATION,
        progress: Callable[[float, float], None] | None = None,
        sampling_rate: int = SAMPLE_RATE_HZ,
        audio_track: AudioTrack | None = None,
        whole: bool = False,
        on_segment: OnSegment | None = None,
        resume: ResumableSegments | None = None,
        num_workers: int | None = 0,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Translate many inputs; yield the index and the result of each as soon as it is complete.

        - `inputs`: paths, bytes, binary files, arrays or tensors of shape (T,) or (1, T), audio dicts of `datasets`, or
          `DecodedAudio`. They are read when they are needed.
        - `to`: one language for all inputs, or for each input one language or several. Several share one encoding, and
          each yields a translation.
        - `source`: the spoken language of all inputs, or of each. It is only recorded.
        - `options`, `segmentation`: how to search, and how to cut the inputs into segments.
        - `progress`: called with the seconds of audio that are translated and read so far.
        - `sampling_rate`: sampling rate of arrays and tensors, in Hz.
        - `audio_track`: which track to read from files with several, by number (from 1) or language.
        - `num_workers`: number of processes that decode files; 0 for a thread, None for as many as are needed.
        - `whole`: each input is an utterance, as in test sets: speech is not detected, and audio of up to 30 s not cut.
        - `on_segment`: called with the index of an input, a target language and the next segment, when it is done.
        - `resume`: keeps what is done of inputs, and knows what an interrupted run has done.

        An input that cannot be read yields one AudioError. Segments of many inputs share batches, sorted by length,
        which does not change results.
        """
        check_is_several(inputs)
        check_type("options", options, SearchOptions)
        check_type("segmentation", segmentation, SegmentationOptions)
        languages = target_languages(inputs, to, source)
        tag_ids = {language: self.checkpoint.target_id(language) for item in languages for language in item}
        recipe = partial(self._recipe_function, options, segmentation=None if whole else segmentation)
        recipes = {language: Recipe(recipe([language], audio_track)) for language in tag_ids}
        settings = self._settings(options)
        segmentation = replace(segmentation, vad=segmentation.vad and not whole)
        review = self._review(settings, segmentation)
        stream = TranslationStream(
            self._schedule(settings, self._vocabulary(tag_ids), keep_caches=review is not None),
            Segmenter(segmentation, clip_seconds(self._training), self._boundaries),
            self.checkpoint.tokenizer,
            settings,
            partial(self._finish, settings=settings),
            self._batch_size,
            review=review,
            whole=whole,
            progress=progress,
            on_segment=on_segment,
            resume=resume,
        )
        decoded = read_ahead(
            inputs,
            sampling_rate=sampling_rate,
            audio_track=audio_track,
            speech=segmentation.speech,
            fill_gaps=not whole,
            num_workers=num_workers,
        )
        for index, audio in enumerate(decoded):
            if not isinstance(to, str) and index >= len(languages):
                raise VoxlateError(f"`to` has {len(to)} languages, but there are more inputs; expected one for each")
            if isinstance(audio, AudioError):
                yield index, audio
                continue
            source_language = source if source is None or isinstance(source, str) else source[index]
            targets = languages[0] if isinstance(to, str) else languages[index]
            translations = [
                PendingTranslation(audio, language, source_language, recipes[language], segmentation)
                for language in targets
            ]
            yield from stream.add(index, audio, [tag_ids[language] for language in targets], translations)
        yield from stream.finish()

    def live(
        self, options: SearchOptions, segmentation: SegmentationOptions, on_segment: OnSegment | None = None
    ) -> LiveTranslation:
        """Return a stream that inputs can join and leave at any time. For arguments see `stream`."""
        settings = self._settings(options)
        review = self._review(settings, segmentation)

        def begin(audio: DecodedAudio, to: str, source: str | None) -> tuple[int, PendingTranslation]:
            recipe = Recipe(self._recipe_function(options, [to], segmentation=segmentation))
            return self.checkpoint.target_id(to), PendingTranslation(audio, to, source, recipe, segmentation)

        return LiveTranslation(
            begin,
            self._schedule(settings, self._vocabulary(self.checkpoint.targets), keep_caches=review is not None),
            Segmenter(segmentation, clip_seconds(self._training), self._boundaries, group_seconds=CUT_SECONDS),
            self.checkpoint.tokenizer,
            settings,
            partial(self._finish, settings=settings),
            self._batch_size,
            review=review,
            on_segment=on_segment,
        )

    def recipe(
        self, options: SearchOptions = DEFAULT_SEARCH, to: str | Sequence[str] | None = None
    ) -> dict[str, object]:
        """Return what a translation depends on besides the audio. This computes the checksum of the weights.

        `slots` are the token ids of the target languages in `to` (None: of all). `shortlist` has the SHA-256 of their
        files, or is False if the whole vocabulary is searched.
        """
        languages = sorted(self.checkpoint.targets) if to is None else target_codes(to)
        return self._recipe_function(options, languages)()

    def _recipe_function(
        self,
        options: SearchOptions,
        languages: Sequence[str],
        audio_track: AudioTrack | None = None,
        segmentation: SegmentationOptions | None = None,
    ) -> Callable[[], dict[str, object]]:
        """Return a function that computes a recipe (see `translation_recipe`)."""
        return translation_recipe(
            self._files,
            {language: self.checkpoint.target_id(language) for language in languages},
            options.resolve(self._model_defaults),
            dtype=self._dtype,
            device=self._device.type,
            shortlist=self._shortlist,
            segmentation=segmentation,
            audio_track=audio_track,
        )

    def _settings(self, options: SearchOptions) -> SearchSettings:
        settings = options.resolve(self._model_defaults)
        max_positions = self.checkpoint.model.decoder.config.max_positions
        return replace(settings, max_length=min(settings.max_length, max_positions))

    def _schedule(self, settings: SearchSettings, vocabulary: Vocabulary, *, keep_caches: bool) -> Schedule:
        model, searched = self.checkpoint.model, settings.before_reranking()
        return Schedule(model, searched, self._batch_size, vocabulary, keep_caches=keep_caches, graphs=self._graphs)

    def _review(self, settings: SearchSettings, segmentation: SegmentationOptions) -> Review | None:
        """Return what reviews the segments of a stream, None if there is nothing to do."""
        if not (segmentation.checks_coverage or self._word_timestamps):
            return None
        rates = TokenRates.of(self._training) if segmentation.checks_coverage else None
        model, tokenizer = self.checkpoint.model, self.checkpoint.tokenizer
        return Review(model, tokenizer, settings, rates=rates, words=self._word_timestamps)

    def _finish(self, pending: PendingTranslation, *, settings: SearchSettings) -> Translation:
        translation = pending.finish(settings)
        return self._bilingual.with_transcripts(translation, pending.audio) if self._bilingual else translation

    def _vocabulary(self, tag_ids: Mapping[str, int]) -> Vocabulary:
        if not self._shortlist:
            return self._full_vocabulary
        shortlists = find_shortlists(self.checkpoint.folder, self.checkpoint.tokenizer, tag_ids)
        ids_by_tag = {tag_ids[language]: shortlist.ids for language, shortlist in shortlists.items()}
        return shortlisted(self.checkpoint.model.decoder.output_rows(), ids_by_tag)

    @cached_property
    def _training(self) -> TrainingStatistics:
        return read_training_statistics(self.checkpoint.folder)

    @cached_property
    def _boundaries(self) -> SentenceBoundaries | None:
        return load_segmenter(self.checkpoint.folder, self.checkpoint.model)

    @cached_property
    def _full_vocabulary(self) -> Vocabulary:
        return Vocabulary(self.checkpoint.model.decoder.output_rows())
