"""What is suspicious in hypotheses, without a score: empty, in another language, looping, too short or too long."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from voxlate_eval.policy import primary_code
from voxlate_eval.published import splits

_REPEATS = 4  # of the same words or characters in a row, after which text is called a loop
_RATIO = (0.5, 2.0)  # of lengths in characters, hypothesis to reference
_SHORT = 10  # characters of a reference under which its length says little
_LETTERS = 10  # below which no language is identified
_LOOP = re.compile(rf"(\b\w.{{1,60}}?|[^\s\d])\1{{{_REPEATS},}}", re.DOTALL)


def is_loop(text: str) -> bool:
    """Return whether something stands more than four times in a row, as a decoder that is stuck has it."""
    return _LOOP.search(text + " ") is not None


def length_outlier(hypothesis: str, reference: str) -> bool:
    """Return whether a hypothesis has less than half or more than twice the characters of a reference."""
    if len(reference) < _SHORT or not hypothesis:
        return False
    return not _RATIO[0] <= len(hypothesis) / len(reference) <= _RATIO[1]


def off_target(texts: Sequence[str], target_language: str) -> dict[str, Any] | None:
    """Return how many texts are not in the target language, and which language they are in instead.

    By py3langid among the languages of CoVoST-2 and the target; it errs on short texts, so that what it says of
    the references belongs beside what it says of the hypotheses. None where it does not know the target.
    """
    target, identifier = primary_code(target_language), _identifier()
    identifier.set_languages(None)
    if target not in identifier.labels:
        return None
    languages = {code for direction in splits() for code in direction.split("-")} | {target}
    identifier.set_languages(languages & {*identifier.labels})
    long_enough = [text for text in texts if sum(letter.isalpha() for letter in text) >= _LETTERS]
    found = Counter(str(identifier.classify(text)[0]) for text in long_enough)
    wrong = len(long_enough) - found.pop(target, 0)
    return {"n": len(long_enough), "wrong": wrong, "languages": dict(found.most_common(5))}


@cache
def _identifier() -> Any:
    """Load py3langid's model (naive Bayes over bytes, Lui and Baldwin 2012), which comes with it: no network."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 (half a second)

    return LanguageIdentifier.from_model_file(MODEL_FILE)
