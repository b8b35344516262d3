"""The scoring policy as data: how each target language's text is cut into the tokens that BLEU counts.

The tables of the field use sacreBLEU's ``13a`` for languages that put spaces between words, and characters for Chinese
and Japanese (Wang et al. 2020, CoVoST 2; fairseq issue #3814). Other scripts without spaces are treated alike.
"""

from difflib import get_close_matches

from voxlate_eval import EvaluationError

WORDS = "13a"
CHARACTERS = "13a+char(fairseq)"  # 13a first, then every character a token, with ▁ for a space

# First parts of codes, tags and names: zh-CN, zh_CN, zho, cmn and Chinese are one language.
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

# The convention of the tables first, then what else is in use.
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
# What `--tokenize` takes: sacreBLEU's, and ours under a short name.
NAMES = ("13a", "13a+char", "zh", "ja-mecab", "ko-mecab", "char", "intl", "flores101", "flores200", "none")


def primary_code(language: str) -> str:
    """Return one code for all spellings of a language: ``zh-CN``, ``cmn`` and ``Chinese`` are ``zh``."""
    first = language.strip().lower().replace("_", "-").replace(" ", "-").split("-")[0]
    return _CODES.get(first, first)


def tokenizers(language: str) -> tuple[str, ...]:
    """Return the tokenizers for a target language; the first is that of the tables."""
    return TOKENIZERS.get(primary_code(language), _OTHERS)


def choose_tokenizer(language: str, name: str | None = None) -> str:
    """Return what to tokenize with: the name that was asked for, or the policy's. EvaluationError where unknown."""
    if name is None:
        return tokenizers(language)[0]
    if name in ("13a+char", CHARACTERS):
        return CHARACTERS
    if name not in NAMES:
        close = get_close_matches(name, NAMES, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(NAMES)}"
        raise EvaluationError(f"unknown tokenizer {name!r}; {hint}")
    return name
