"""Names that other tools use for the columns of a manifest, to warn about columns that would be ignored."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

# Names used by fairseq S2T, Hugging Face datasets (Common Voice, FLEURS, CoVoST-2, audiofolder), NeMo, ESPnet, Kaldi,
# SpeechBrain and MuST-C, without case and punctuation.
_OTHER_NAMES = {
    "id": "utt_id utterance_id utterance uttid sample_id segment_id clip_id key uid uuid",
    "audio": "path file file_name filename filepath file_path audio_filepath audio_path audio_file audio_file_path wav "
    "wav_path wav_file mp3 flac clip clip_path sound speech media recording wave url",
    "seconds": "duration n_frames length len dur secs sec duration_seconds duration_ms audio_duration audio_length "
    "num_frames num_samples samples duration_s",
    "source_language": "src_lang source_lang lang language locale src_language lang_id language_id audio_language",
    "target_language": "tgt_lang target_lang trg_lang tgt_language translation_language lang_to",
    "source_text": "sentence text transcript transcription src_text raw_transcription raw_text normalized_text "
    "source_sentence src source txt transcripts words",
    "target_text": "tgt_text translation target tgt trg trg_text target_sentence translated_text translations "
    "tgt_sentence reference ref",
    "speaker": "speaker_id client_id spk spk_id spkr spkid speaker_name reader_id",
    "split": "subset set partition fold",
    "error": "err",
}
_SHOWN = 30


def _normalize(name: str) -> str:
    return re.sub(r"[\W_]+", "", name[:100]).lower()


_COLUMN_OF_NAME = {
    _normalize(other): name for name, others in _OTHER_NAMES.items() for other in (name, *others.split())
}


def lookalikes(columns: Iterable[str], expected: Iterable[str]) -> dict[str, str]:
    """Map columns of a file that look like missing expected ones to the names of those."""
    columns, expected = list(columns), list(expected)
    missing = [name for name in expected if name not in columns]
    resembling = {}
    for column in columns:
        intended = _COLUMN_OF_NAME.get(_normalize(column))
        if column not in expected and intended in missing:
            resembling[column] = intended
    return resembling


def closest(name: str, columns: Sequence[str], excluded: Iterable[str]) -> str | None:
    """Return the column that most resembles `name`; columns in `excluded` have another meaning and are skipped."""
    resembling = lookalikes(columns, [name])
    if resembling:
        return next(iter(resembling))
    others = [column for column in columns[:1000] if column not in set(excluded) and len(column) < 100]
    return next(iter(get_close_matches(name, others, n=1)), None)


def join_names(columns: Sequence[str]) -> str:
    """Join column names for a message. Long names and lists are truncated."""
    names = [(name or "''") if len(name) <= 50 else f"{name[:40]}…" for name in columns[:_SHOWN]]
    more = f" and {len(columns) - _SHOWN:,} more" if len(columns) > _SHOWN else ""
    return ", ".join(names) + more
