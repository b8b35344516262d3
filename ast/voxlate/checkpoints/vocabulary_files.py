"""The vocabulary of a model folder: its layout, its files, and the config of transformers' tokenizer."""

import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from voxlate.errors import VoxlateError
from voxlate.files import atomic_file
from voxlate.json_files import entry_exists, read_json
from voxlate.tokenizer import DICTIONARY_FILE, SPECIALS, VOCABULARY_FILES, Tokenizer
from voxlate.vocabulary_layouts import LAYOUTS, M2M100, MBART50, NLLB, SEAMLESS, VocabularyLayout

_UNUSED = "<unused {}>"  # name of an id between language tags that is none
_MAX_TAGS = 10_000


def read_tokenizer(folder: Path, vocabulary_size: int, *, added: Collection[int] = ()) -> Tokenizer:
    """Return the tokenizer of a model folder. VoxlateError if it is missing or belongs to another model.

    The decoder may have more ids: those `added` for new target languages after all others.
    """
    path = find_vocabulary(folder)
    if path is None:
        expected = " or ".join(VOCABULARY_FILES)
        raise VoxlateError(f"{folder}: no {expected}; copy it from the checkpoint that the decoder started from")
    tokenizer = folder_tokenizer(folder)
    layout, size = tokenizer.layout, vocabulary_size
    tagged = tokenizer.first_tag_id + len(tokenizer.tags)
    while size - 1 in added and size - 1 >= tagged + layout.min_unused:
        size -= 1
    if not layout.min_unused <= size - tagged <= layout.max_unused:
        raise VoxlateError(
            f"{path}: has {tokenizer.vocabulary_size} ids, but the decoder has {vocabulary_size}; "
            "it belongs to another model"
        )
    return Tokenizer(path, layout, unused=size - tagged) if size - tagged != tokenizer.unused else tokenizer


def find_vocabulary(folder: Path) -> Path | None:
    """Return the file of a folder's vocabulary, or None if there is none."""
    return next((folder / name for name in VOCABULARY_FILES if entry_exists(folder / name)), None)


def folder_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a folder that has a vocabulary, with as few unused ids as its layout has."""
    path = find_vocabulary(folder)
    assert path is not None
    layout = find_layout(folder)
    if not layout.tags:
        layout = layout.with_tags(_stored_tags(folder, Tokenizer(path, layout).first_tag_id))
    return Tokenizer(path, layout)


def find_layout(folder: Path) -> VocabularyLayout:
    """Return the layout of a folder's vocabulary: that of its tokenizer's class, else of its decoder."""
    name = _read_optional(folder / "tokenizer_config.json").get("tokenizer_class")
    if isinstance(name, str) and name.removesuffix("Fast") in LAYOUTS:
        return LAYOUTS[name.removesuffix("Fast")]
    config = _read_optional(folder / "config.json")
    decoder = config.get("decoder")
    kinds = config.get("model_type"), decoder.get("model_type") if isinstance(decoder, dict) else None
    if "m2m_100" in kinds:
        return M2M100 if entry_exists(folder / DICTIONARY_FILE) else NLLB
    return SEAMLESS if kinds[0] == "seamless_m4t_v2" else MBART50


def check_ids(tokenizer: Tokenizer, pad_id: int, eos_id: int) -> None:
    """VoxlateError if a decoder has other ids for ``<pad>`` and ``</s>`` than its tokenizer."""
    if (pad_id, eos_id) != (tokenizer.pad_id, tokenizer.eos_id):
        raise VoxlateError(
            f"{tokenizer.path}: <pad> and </s> are {tokenizer.pad_id} and {tokenizer.eos_id}, but in the decoder's "
            f"config {pad_id} and {eos_id}; it belongs to another model"
        )


def unnamed_ids(tokenizer: Tokenizer, vocabulary_size: int, added: Collection[int]) -> list[int]:
    """Return the ids of a decoder that are neither the tokenizer's nor `added` for a language."""
    return [index for index in range(tokenizer.vocabulary_size, vocabulary_size) if index not in added]


def write_vocabulary(folder: Path, tokenizer: Tokenizer) -> None:
    """Copy the files of a vocabulary into a model folder, under the names that transformers gives them."""
    names = {tokenizer.path: vocabulary_name(tokenizer)}
    for path in tokenizer.files:
        with atomic_file(folder / names.get(path, path.name)) as part:
            shutil.copyfile(path, part)


def vocabulary_name(tokenizer: Tokenizer) -> str:
    """Return the name of the main file of a vocabulary in a model folder."""
    return VOCABULARY_FILES[1] if tokenizer.path.suffix == ".json" else VOCABULARY_FILES[0]


def tokenizer_config(tokenizer: Tokenizer, targets: Mapping[str, int]) -> dict[str, Any]:
    """Return the config of transformers' tokenizer, in which ids that were added are special tokens too."""
    layout = tokenizer.layout
    config: dict[str, Any] = {"tokenizer_class": layout.tokenizer_class}
    names: dict[int, str] = {}
    added = {index: f"__{code}__" for code, index in targets.items() if index >= tokenizer.vocabulary_size}
    if layout.tokenizer_class != MBART50.tokenizer_class:  # the only one that knows its tags by itself
        names |= dict(enumerate(layout.specials)) | {tokenizer.tag_id(tag): tag for tag in tokenizer.tags}
        first_unused = tokenizer.first_tag_id + len(tokenizer.tags)
        if added:  # whose ids follow those without use
            names |= {index: _UNUSED.format(index) for index in range(first_unused, tokenizer.vocabulary_size)}
        if layout.has_mask:
            names[first_unused] = "<mask>"
    # Names as in M2M-100: mBART's es_XX may be the token of another language, and then es needs another name.
    names |= added
    if names:
        config["added_tokens_decoder"] = {
            str(index): {"content": names[index], "special": True} for index in sorted(names)
        }
    return config


def language_ids(tokenizer: Tokenizer, targets: Mapping[str, int]) -> dict[str, int]:
    """Return the id of each language by the name that SeamlessM4T's generation config gives it."""
    ids = {tag.strip("_"): tokenizer.tag_id(tag) for tag in tokenizer.tags if tag.startswith("__")}
    return ids | {code: index for code, index in targets.items() if index not in ids.values()}


def _stored_tags(folder: Path, first: int) -> tuple[str, ...]:
    """Return the language tags after the pieces, which end before the id `first`, from the folder's files."""
    ids = {name: index for name, index in _named_ids(folder) if name.startswith("__") and index >= SPECIALS}
    if not ids or min(ids.values()) < first or max(ids.values()) > first + _MAX_TAGS:
        raise VoxlateError(
            f"{folder}: no language tags from id {first} on; expected text_decoder_lang_to_code_id in its "
            "generation_config.json"
        )
    names = {index: name for name, index in ids.items()}
    return tuple(names.get(index, _UNUSED.format(index)) for index in range(first, max(names) + 1))


def _named_ids(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield names and ids of language tags in the files of SeamlessM4T, those of the first file that has any."""
    listed = _read_optional(folder / "generation_config.json").get("text_decoder_lang_to_code_id")
    if isinstance(listed, dict) and listed:
        yield from ((f"__{name.strip('_')}__", index) for name, index in listed.items() if type(index) is int)
        return
    added = _read_optional(folder / "tokenizer_config.json").get("added_tokens_decoder")
    if isinstance(added, dict) and added:
        pairs = ((token.get("content") if isinstance(token, dict) else None, key) for key, token in added.items())
        yield from ((name, int(key)) for name, key in pairs if isinstance(name, str) and key.isdigit())
        return
    tokens = _read_optional(folder / "tokenizer.json").get("added_tokens")
    for token in tokens if isinstance(tokens, list) else []:
        match token:
            case {"content": str() as name, "id": int() as index}:
                yield name, index


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path, "") if entry_exists(path) else {}
