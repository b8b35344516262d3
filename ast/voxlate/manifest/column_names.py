"""Names that other tools use for the columns of a manifest, so that an unused column is always noticed."""

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


def _normalized(name: str) -> str:
    return re.sub(r"[\W_]+", "", name[:100]).lower()


_COLUMN_OF_NAME = {
    _normalized(other): name for name, others in _OTHER_NAMES.items() for other in (name, *others.split())
}


def lookalikes(columns: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Return columns of a file that resemble missing ones of `wanted`, each with the name of the missing one."""
    columns, wanted = list(columns), list(wanted)
    missing = [name for name in wanted if name not in columns]
    found = {}
    for column in columns:
        intended = _COLUMN_OF_NAME.get(_normalized(column))
        if column not in wanted and intended in missing:
            found[column] = intended
    return found


def closest(name: str, columns: Sequence[str], known: Iterable[str]) -> str | None:
    """Return the column that most resembles `name`, except columns in `known`, which have another meaning."""
    found = lookalikes(columns, [name])
    if found:
        return next(iter(found))
    others = [column for column in columns[:1000] if column not in set(known) and len(column) < 100]
    return next(iter(get_close_matches(name, others, n=1)), None)


def listed(columns: Sequence[str]) -> str:
    """Return column names for a message, shortened so that a broken file cannot make it long."""
    names = [(name or "''") if len(name) <= 50 else f"{name[:40]}…" for name in columns[:_SHOWN]]
    more = f" and {len(columns) - _SHOWN:,} more" if len(columns) > _SHOWN else ""
    return ", ".join(names) + more
