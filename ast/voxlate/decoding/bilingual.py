"""Add transcripts to translations, for bilingual subtitles: what was said in each segment."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from voxlate.audio.decoded_audio import DecodedAudio
from voxlate.audio.segmentation import Span
from voxlate.checkpoints.ctc_models import load_ctc_head, read_ctc_head
from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.decoding.results import Translation
from voxlate.decoding.segment_batches import choose_batch_size, compute_segments
from voxlate.decoding.transcriber import transcribe_batch
from voxlate.errors import VoxlateError


def check_bilingual(model: str | Path, folder: Path) -> None:
    """Raise VoxlateError if a model has no CTC head. This takes no time, unlike loading the model."""
    try:
        read_ctc_head(model, folder)
    except VoxlateError as error:
        raise VoxlateError(f"bilingual results need transcripts, but {error}") from None


class BilingualModel:
    """The CTC head of a translation model, on its own encoder."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        model = checkpoint.model
        self._ctc = load_ctc_head(checkpoint.name, model.encoder, device=model.device, dtype=model.dtype)
        self._batch_size = choose_batch_size(None, model.device.type)

    def with_transcripts(self, translation: Translation, audio: DecodedAudio) -> Translation:
        """Return a translation of some audio with the words that were said in each of its segments."""
        clock = audio.clock
        spans = [(clock.sample(segment.start), clock.sample(segment.end)) for segment in translation.segments]
        transcribe = partial(transcribe_batch, self._ctc)

        def chosen(_index: int, _audio: DecodedAudio) -> Sequence[Span]:
            return spans

        [(_, _, said)] = compute_segments([audio], transcribe, self._batch_size, spans=chosen)
        segments = zip(translation.segments, said.values(), strict=True)
        return replace(
            translation, segments=tuple(replace(segment, transcript=spoken.words) for segment, spoken in segments)
        )
