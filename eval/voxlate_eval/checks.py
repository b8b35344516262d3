"""Checks for suspicious hypotheses: repetition loops, wrong language, unusual length."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from voxlate_eval.policy import primary_code
from voxlate_eval.published import splits

_REPEATS = 4  # consecutive repetitions of a phrase or character; more of them are a loop
_LENGTH_RATIOS = (0.5, 2.0)  # normal range of hypothesis length to reference length, in characters
_MIN_REFERENCE_CHARACTERS = 10  # the length ratio is not checked for shorter references
_MIN_LETTERS = 10  # the language of shorter texts is not identified
_LOOP = re.compile(rf"(\b\w.{{1,60}}?|[^\s\d])\1{{{_REPEATS},}}", re.DOTALL)


def is_loop(text: str) -> bool:
    """Return whether a phrase or character is repeated more than four times in a row, as by a decoder in a loop."""
    return _LOOP.search(text + " ") is not None


def length_outlier(hypothesis: str, reference: str) -> bool:
    """Return whether a hypothesis has less than half or more than twice the characters of its reference."""
    if len(reference) < _MIN_REFERENCE_CHARACTERS or not hypothesis:
        return False
    return not _LENGTH_RATIOS[0] <= len(hypothesis) / len(reference) <= _LENGTH_RATIOS[1]


def off_target(texts: Sequence[str], target_language: str) -> dict[str, Any] | None:
    """Count texts that are not in the target language, and the languages that they seem to be in.

    Languages are identified by py3langid among those of CoVoST-2 and the target. It makes mistakes on short texts, so
    compare its counts on hypotheses with its counts on references. Return None if it does not know the target.
    """
    target, identifier = primary_code(target_language), _identifier()
    identifier.set_languages(None)
    if target not in identifier.labels:
        return None
    languages = {code for direction in splits() for code in direction.split("-")} | {target}
    identifier.set_languages(languages & {*identifier.labels})
    long_enough = [text for text in texts if sum(letter.isalpha() for letter in text) >= _MIN_LETTERS]
    counts = Counter(str(identifier.classify(text)[0]) for text in long_enough)
    wrong = len(long_enough) - counts.pop(target, 0)
    return {"n": len(long_enough), "wrong": wrong, "languages": dict(counts.most_common(5))}


@cache
def _identifier() -> Any:
    """Load the model bundled with py3langid (naive Bayes over bytes, Lui and Baldwin 2012)."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 (takes half a second)

    return LanguageIdentifier.from_model_file(MODEL_FILE)
