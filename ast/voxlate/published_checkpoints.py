"""The published XLS-R checkpoints (Babu et al. 2021): source languages, target languages, and their language tokens."""

from voxlate.errors import VoxlateError
from voxlate.languages import COVOST2_TARGETS, Language, find_language
from voxlate.published_models import find_published, published_models

_X_TO_EN, _EN_TO_X = "facebook/wav2vec2-xls-r-300m-21-to-en", "facebook/wav2vec2-xls-r-300m-en-to-15"
ALL_DIRECTIONS = "facebook/wav2vec2-xls-r-2b-22-to-16"

# Target language -> token id, as stated by the model cards. Catalan and Welsh use the tokens of es_XX and fi_FI. The
# cards give Latvian the token of my_MM (250017), although mBART-50 has lv_LV (250016). Which one is right has not been
# verified with the real weights, so the user can override it.
_EN_TO_15 = {
    "de": 250003,
    "tr": 250023,
    "fa": 250029,
    "sv": 250042,
    "mn": 250037,
    "zh": 250025,
    "cy": 250007,
    "ca": 250005,
    "sl": 250052,
    "et": 250006,
    "id": 250032,
    "ar": 250001,
    "ta": 250044,
    "lv": 250017,
    "ja": 250012,
}
_ENGLISH = {"en": 250004}

PUBLISHED_TARGETS: dict[str, dict[str, int]] = {
    **{f"facebook/wav2vec2-xls-r-{size}-21-to-en": _ENGLISH for size in ("300m", "1b", "2b")},
    **{f"facebook/wav2vec2-xls-r-{size}-en-to-15": _EN_TO_15 for size in ("300m", "1b", "2b")},
    ALL_DIRECTIONS: {**_EN_TO_15, **_ENGLISH},
}
AMBIGUOUS_TOKENS = {"lv": "250017 (my_MM) according to the model cards, 250016 (lv_LV) in mBART-50"}


def published_targets(model: str) -> dict[str, int] | None:
    """Return the target languages of a published checkpoint and their token ids, or None for any other model.

    `model` is a Hub id, a folder of that name, or a folder of the Hub's cache.
    """
    known = find_published(model)
    return dict(PUBLISHED_TARGETS[known.hub_id]) if known and known.hub_id in PUBLISHED_TARGETS else None


def published_sources(model: str) -> tuple[str, ...]:
    """Return the source languages of the published checkpoint with this Hub id."""
    known = find_published(model)
    return known.speech if known is not None and isinstance(known.speech, tuple) else ()


def default_checkpoint(target: str, source: str | None = None) -> str:
    """Return the published checkpoint for a direction; without `source`, X→English or English→X is assumed.

    VoxlateError, with the published languages, if none translates into `target` or from `source`.
    """
    target_language = find_language(target)
    source_language = find_language(source) if source else None
    if target_language.code not in PUBLISHED_TARGETS[ALL_DIRECTIONS]:
        raise VoxlateError(
            "no published XLS-R checkpoint translates into "
            f"{target_language.name} ({target_language.code}); published targets are "
            f"en, {', '.join(COVOST2_TARGETS)}; {_advice(target_language, source_language)}"
        )
    if source_language == target_language:
        raise VoxlateError(
            f"the speech is already in {target_language.name} ({target_language.code}), and no published checkpoint "
            "translates a language into itself; use voxlate transcribe, or name your own model with --model"
        )
    if source_language is not None and source_language.code not in published_sources(ALL_DIRECTIONS):
        raise VoxlateError(
            "no published XLS-R checkpoint translates from "
            f"{source_language.name} ({source_language.code}); published sources are "
            f"{', '.join(published_sources(ALL_DIRECTIONS))}; {_advice(target_language, source_language)}"
        )
    if target_language.code == "en":
        return _X_TO_EN
    if source_language is None or source_language.code == "en":
        return _EN_TO_X
    return ALL_DIRECTIONS


def _advice(target: Language, source: Language | None) -> str:
    """Return what to do about a direction that none of these checkpoints translates."""
    code = source.code if source else None
    other = next((model for model in published_models().values() if model.translates(code, target.code)), None)
    return f"{f'use --model {other.name}, or ' if other else ''}name your own model with --model"
