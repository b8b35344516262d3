"""The labels of a CTC model of transformers, from the files of its `Wav2Vec2CTCTokenizer`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from voxlate.checkpoints.config_json import describe_problem
from voxlate.errors import VoxlateError
from voxlate.json_files import entry_exists, read_json, shown

_FILES = ("special_tokens_map.json", "tokenizer_config.json")  # the second one takes precedence


@dataclass(frozen=True)
class Labels:
    """The text of each label of a CTC head, "" for the blank and other special tokens.

    `blank` and `space` are the labels of the blank and of the space between words. With `lower`, words are written in
    lower case; `separator` joins them.
    """

    texts: tuple[str, ...]
    blank: int
    space: int | None
    lower: bool = False
    separator: str = " "


def _content(value: object) -> object:
    """Return the text of a token, which may be stored as a string or as an object."""
    return value.get("content") if isinstance(value, dict) else value


_Token = Annotated[str | None, BeforeValidator(_content)]


class _AddedToken(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    content: str
    special: bool = False


class _Settings(BaseModel):
    """The settings that affect the text of labels, with the defaults of transformers."""

    model_config = ConfigDict(extra="ignore", strict=True)

    unk_token: _Token = "<unk>"  # noqa: S105 (not a password)
    pad_token: _Token = "<pad>"  # noqa: S105
    bos_token: _Token = "<s>"  # noqa: S105
    eos_token: _Token = "</s>"  # noqa: S105
    word_delimiter_token: _Token = "|"  # noqa: S105
    replace_word_delimiter_char: str = " "
    do_lower_case: bool = False
    target_lang: str | None = None
    added_tokens_decoder: dict[str, _AddedToken] = {}


def read_labels(folder: Path, blank: object, count: int) -> Labels:
    """Return the labels of a head with `count` outputs.

    `blank` is the config's pad_token_id, used if the tokenizer has no pad token. VoxlateError if the files are damaged
    or belong to a head with other labels.
    """
    settings = _settings(folder)
    path = folder / "vocab.json"
    ids = _ids(path, settings.target_lang, count)
    texts = [""] * count
    for text, index in ids.items():
        if texts[index]:
            raise VoxlateError(f"{path}: {shown(texts[index])} and {shown(text)} have the same id {index}")
        texts[index] = text
    special = {settings.unk_token, settings.pad_token, settings.bos_token, settings.eos_token}
    for key, token in settings.added_tokens_decoder.items():
        if key.isdecimal() and len(key) < 9 and int(key) < count:
            texts[int(key)] = texts[int(key)] or token.content
        if token.special:
            special.add(token.content)
    space = ids.get(settings.word_delimiter_token or "")
    space = ids.get(" ") if space is None else space
    pad_id = ids.get(settings.pad_token or "", 0 if blank is None else blank)
    if not isinstance(pad_id, int) or isinstance(pad_id, bool) or not 0 <= pad_id < count:
        raise VoxlateError(f"{folder / 'config.json'}: pad_token_id is {shown(blank)}; expected an id below {count}")
    for index, text in enumerate(texts):
        bracketed = len(text) > 1 and text[0] + text[-1] in ("<>", "[]")
        if index != space and (index == pad_id or bracketed or text in special):
            texts[index] = ""
    return Labels(tuple(texts), pad_id, space, settings.do_lower_case, settings.replace_word_delimiter_char)


def _settings(folder: Path) -> _Settings:
    settings: dict[str, Any] = {}
    for name in _FILES:
        path = folder / name
        if entry_exists(path):
            settings |= {key: value for key, value in read_json(path, "").items() if key in _Settings.model_fields}
            try:
                _Settings.model_validate(settings)
            except ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(map(str, problem["loc"]))
                raise VoxlateError(f"{path}: {field}: {describe_problem(problem)}") from None
    return _Settings.model_validate(settings)


def _ids(path: Path, language: str | None, count: int) -> Mapping[str, int]:
    """Return the id of each label. A vocabulary of several languages (MMS) has a table per language."""
    ids = read_json(path, "expected the labels of the CTC head")
    if ids and all(isinstance(table, dict) for table in ids.values()):
        names = [*ids]
        if language is None and len(names) == 1:
            language = names[0]
        if language not in ids:
            listed = f"{', '.join(names[:8])}{', …' if len(names) > 8 else ''}"
            raise VoxlateError(
                f"{path}: has labels of {len(names)} languages ({listed}), not those of {shown(language)}; name the "
                "language of the head as target_lang in tokenizer_config.json"
            )
        ids = ids[language]
    if not ids or not all(
        isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count for index in ids.values()
    ):
        raise VoxlateError(f"{path}: expected one id below {count} for each label")
    return ids
