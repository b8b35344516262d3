"""From audio inputs to translations: read, cut, sort, batch, search, and put everything back in its place.

Shape letters: B utterances of a batch, T samples, S encoder states, D width.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor

import voxlate
from voxlate.data.audio import SAMPLE_RATE_HZ, Audio, AudioSource, decoder_fingerprint, load_audio
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.search import Hypothesis, SearchOptions, search
from voxlate.decoding.segmentation import segment
from voxlate.decoding.translation import Candidate, Segment, Translation
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import choose_device, choose_dtype
from voxlate.languages import find_language
from voxlate.models.hub import hub_revision
from voxlate.models.interop import load_checkpoint
from voxlate.models.memory import Memory
from voxlate.models.weights import weights_sha256
from voxlate.provenance import source_commit
from voxlate.text import Tokenizer

DEFAULT_SEARCH = SearchOptions(max_repeats=4)
_WINDOW_BATCHES = 8  # how many batches are read ahead, so that utterances of like length meet

Progress = Callable[[float, float], None]
Span = tuple[int, int]


@dataclass(frozen=True)
class _Piece:
    """What is searched: some samples (start, end) of the input numbered `job`."""

    job: int
    span: Span
    waveform_T: Tensor
    tag_id: int


@dataclass
class _Job:
    """One input on its way: the spans to translate, and their hypotheses as they come."""

    name: str
    audio: Audio
    spans: list[Span]
    target: str
    source: str | None
    found: dict[Span, list[Hypothesis]] = field(default_factory=dict)

    @property
    def silent_seconds(self) -> float:
        return (len(self.audio.waveform) - sum(end - start for start, end in self.spans)) / SAMPLE_RATE_HZ

    def translation(self, tokenizer: Tokenizer) -> Translation:
        segments = tuple(
            Segment(
                span[0] / SAMPLE_RATE_HZ,
                span[1] / SAMPLE_RATE_HZ,
                tuple(Candidate(tokenizer.decode(found.ids), found.score) for found in self.found[span]),
            )
            for span in self.spans
        )
        return Translation(self.name, self.audio.seconds, self.target, segments, self.source, self.audio.warnings)


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
    utterances searched at once; `slots` overrides target languages' token ids (see `load_checkpoint`).
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        slots: Mapping[str, int | str] | None = None,
    ) -> None:
        if batch_size < 1:
            raise VoxlateError(f"batch_size is {batch_size}, expected 1 or more")
        self._device = choose_device(device)
        self._batch_size = batch_size
        self.checkpoint = load_checkpoint(
            model, device=self._device, dtype=choose_dtype(dtype, self._device), slots=slots
        )

    def translate(
        self,
        audio: AudioSource | np.ndarray,
        *,
        to: str,
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Translation:
        """Translate one input: a path, bytes, a binary file, or a mono 16 kHz float array. Raises AudioError."""
        [(_, result)] = self.stream([audio], to=to, source=source, options=options)
        if isinstance(result, AudioError):
            raise result
        return result

    def stream(
        self,
        inputs: Iterable[AudioSource | np.ndarray],
        *,
        to: str | Sequence[str],
        source: str | None = None,
        options: SearchOptions = DEFAULT_SEARCH,
        progress: Progress | None = None,
    ) -> Iterator[tuple[int, Translation | AudioError]]:
        """Translate many inputs; yield each one's index and result as soon as it is complete.

        `to` is one language, or one for each input. Utterances of many inputs share batches, sorted by length, which
        changes no result. Inputs are read as they are needed. An input that cannot be read yields its AudioError.
        `progress` is told the seconds translated and the seconds read so far.
        """
        if isinstance(inputs, str | bytes | PathLike):
            raise VoxlateError(f"inputs is one {type(inputs).__name__}, expected several; put it into a list")
        languages = [find_language(language).code for language in ([to] if isinstance(to, str) else to)]
        tag_ids = {language: self.checkpoint.target_id(language) for language in languages}
        report = _Report(progress)
        jobs: dict[int, _Job] = {}
        waiting: list[_Piece] = []
        for index, item in enumerate(inputs):
            if not isinstance(to, str) and index >= len(languages):
                raise VoxlateError(f"`to` has {len(to)} languages, expected one for each input, and there are more")
            target = languages[0] if isinstance(to, str) else languages[index]
            tag_id = tag_ids[target]
            try:
                audio = _as_audio(item)
            except AudioError as error:
                yield index, error
                continue
            report.read(audio.seconds)
            spans = segment(audio.waveform)
            jobs[index] = _Job(_name(item), audio, spans, target, source)
            waveform_T = torch.from_numpy(audio.waveform)
            waiting += [_Piece(index, span, waveform_T[slice(*span)], tag_id) for span in spans]
            report.translated(jobs[index].silent_seconds)
            if not spans:
                yield index, jobs.pop(index).translation(self.checkpoint.tokenizer)
            if len(waiting) >= self._batch_size * _WINDOW_BATCHES:
                yield from self._translate_pieces(waiting, jobs, options, report)
                waiting.clear()
        yield from self._translate_pieces(waiting, jobs, options, report)

    def recipe(self, options: SearchOptions) -> dict[str, object]:
        """Return what a result depends on, besides the audio: weights, search, precision, decoder, versions."""
        return {
            "voxlate": voxlate.__version__,
            "commit": source_commit(),
            "model": self.checkpoint.name,
            "revision": hub_revision(self.checkpoint.folder),
            "weights_sha256": self._weights_sha256,
            **{f"search_{name}": value for name, value in asdict(options).items()},
            "dtype": str(self.checkpoint.model.dtype).removeprefix("torch."),
            "device": self._device.type,
            "audio_decoder": decoder_fingerprint(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    @cached_property
    def _weights_sha256(self) -> str:
        return weights_sha256(self.checkpoint.folder)

    def _translate_pieces(
        self, pieces: list[_Piece], jobs: dict[int, _Job], options: SearchOptions, report: _Report
    ) -> Iterator[tuple[int, Translation]]:
        """Translate pieces in batches of like length, longest first; yield the inputs that this completes."""
        pieces = sorted(pieces, key=lambda piece: -len(piece.waveform_T))
        for first in range(0, len(pieces), self._batch_size):
            batch = pieces[first : first + self._batch_size]
            tag_ids = [piece.tag_id for piece in batch]
            memory = self._remember([piece.waveform_T for piece in batch])
            hypotheses = search(self.checkpoint.model.decoder, memory, tag_ids, options)
            for piece, found in zip(batch, hypotheses, strict=True):
                report.translated(len(piece.waveform_T) / SAMPLE_RATE_HZ)
                job = jobs[piece.job]
                job.found[piece.span] = found
                if len(job.found) == len(job.spans):
                    yield piece.job, jobs.pop(piece.job).translation(self.checkpoint.tokenizer)

    @torch.inference_mode()
    def _remember(self, waveforms: list[Tensor]) -> Memory:
        """Run the encoder, on the CPU one utterance at a time: there a batch of 8 takes half as long again."""
        model = self.checkpoint.model
        size = 1 if self._device.type == "cpu" else len(waveforms)
        encoded: list[Tensor] = []
        for first in range(0, len(waveforms), size):
            states_BSD, lengths_B = model.encode(
                *collate_waveforms(waveforms[first : first + size], normalize=model.encoder.normalize_waveform)
            )
            encoded += [states_SD[:length] for states_SD, length in zip(states_BSD, lengths_B.tolist(), strict=True)]
        lengths = torch.tensor([len(states_SD) for states_SD in encoded], device=model.device)
        return model.decoder.remember(torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True), lengths)


def _as_audio(item: AudioSource | np.ndarray) -> Audio:
    if not isinstance(item, np.ndarray):
        return load_audio(item)
    if item.ndim != 1 or item.dtype.kind != "f" or not np.isfinite(item).all():
        raise AudioError(
            f"array: expected finite floats of shape (samples,) at {SAMPLE_RATE_HZ} Hz, got {item.dtype} {item.shape}"
        )
    return Audio(item.astype(np.float32), ())


def _name(item: AudioSource | np.ndarray) -> str:
    if isinstance(item, str | PathLike):
        return str(item)
    return str(getattr(item, "name", type(item).__name__))
