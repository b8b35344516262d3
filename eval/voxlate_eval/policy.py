"""The scoring policy as data: the tokenizers that BLEU uses for each target language.

Published tables use sacreBLEU's ``13a`` for languages with spaces between words, and characters for Chinese and
Japanese (Wang et al. 2020, CoVoST 2; fairseq issue #3814). Other scripts without spaces are treated in the same way.
"""

from difflib import get_close_matches

from voxlate_eval import EvaluationError

WORDS = "13a"
CHARACTERS = "13a+char(fairseq)"  # 13a, then every character is a token, with ▁ for a space

# The first part of a code, tag or name selects the language: zh-CN, zh_CN, zho, cmn and Chinese are all zh.
_ONE_LANGUAGE = {
    "zh": ("zh", "zho", "chi", "cmn", "chinese", "mandarin"),
    "ja": ("ja", "jpn", "jp", "japanese"),
    "yue": ("yue", "cantonese"),
    "wuu": ("wuu",),
    "th": ("th", "tha", "thai"),
    "lo": ("lo", "lao"),
    "km": ("km", "khm", "khmer"),
    "my": ("my", "mya", "bur", "burmese"),
    "ko": ("ko", "kor", "korean"),
}
_CODES = {name: code for code, names in _ONE_LANGUAGE.items() for name in names}

# The convention of published tables first, then others in use.
TOKENIZERS = {
    "zh": (CHARACTERS, "zh", "char", "flores200"),
    "ja": (CHARACTERS, "ja-mecab", "char", "flores200"),
    "yue": (CHARACTERS, "zh", "char", "flores200"),
    "wuu": (CHARACTERS, "zh", "char", "flores200"),
    "th": (CHARACTERS, "char", "flores200"),
    "lo": (CHARACTERS, "char", "flores200"),
    "km": (CHARACTERS, "char", "flores200"),
    "my": (CHARACTERS, "char", "flores200"),
    "ko": (WORDS, "ko-mecab", "char", "flores200"),
}
_OTHERS = (WORDS, "char", "flores200")
# Values of `--tokenize`: sacreBLEU's tokenizers, and ours under a short name.
NAMES = ("13a", "13a+char", "zh", "ja-mecab", "ko-mecab", "char", "intl", "flores101", "flores200", "none")


def primary_code(language: str) -> str:
    """Return one code for all names of a language: ``zh-CN``, ``cmn`` and ``Chinese`` give ``zh``."""
    first = language.strip().lower().replace("_", "-").replace(" ", "-").split("-")[0]
    return _CODES.get(first, first)


def tokenizers(language: str) -> tuple[str, ...]:
    """Return the tokenizers for a target language, that of published tables first."""
    return TOKENIZERS.get(primary_code(language), _OTHERS)


def choose_tokenizer(language: str, name: str | None = None) -> str:
    """Return the named tokenizer, by default the policy's. Raises EvaluationError if the name is unknown."""
    if name is None:
        return tokenizers(language)[0]
    if name in ("13a+char", CHARACTERS):
        return CHARACTERS
    if name not in NAMES:
        close = get_close_matches(name, NAMES, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(NAMES)}"
        raise EvaluationError(f"unknown tokenizer {name!r}; {hint}")
    return name
