"""Write a vocabulary with some of its pieces, in the format that it has."""

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from voxlate.tokenizer import DICTIONARY_FILE, SPECIALS, Tokenizer

protobuf: Any = sentencepiece_model_pb2  # Any: its classes are created at run time


def needed_pieces(tokenizer: Tokenizer, ids: Collection[int]) -> list[int]:
    """Return the given pieces in ascending order, in a BPE vocabulary with those from which they are merged.

    Text of the given pieces is then tokenized as before: every merge happens inside of one of them, so that the merges
    remain the same, in the same order.
    """
    merges = _merge_ranks(tokenizer)
    if merges is None:
        return sorted(ids)
    names = tokenizer.pieces(range(tokenizer.first_tag_id))
    by_name = {name: index for index, name in enumerate(names) if index >= SPECIALS}
    needed = {*ids}
    for index in ids:
        needed |= {by_name[part] for part in _merged_parts(names[index], merges) if part in by_name}
    return sorted(needed)


def write_trimmed(tokenizer: Tokenizer, pieces: Sequence[int], path: Path) -> None:
    """Write the vocabulary with only the given pieces to `path`, which has the suffix of the old one."""
    if path.suffix == ".json":
        path.write_text(json.dumps(_trimmed_json(tokenizer, pieces), ensure_ascii=False), encoding="utf-8")
        return
    model = _read_model(tokenizer.path)
    names = {*tokenizer.pieces(pieces)}
    kept = [*model.pieces[:3], *(piece for piece in model.pieces[3:] if piece.piece in names)]
    del model.pieces[:]
    model.pieces.extend(kept)
    model.trainer_spec.vocab_size = len(kept)
    path.write_bytes(model.SerializeToString())
    if tokenizer.layout.uses_dictionary:
        ordered = [*tokenizer.layout.specials, *tokenizer.pieces(pieces)]
        dictionary = {name: index for index, name in enumerate(ordered)}
        path.with_name(DICTIONARY_FILE).write_text(json.dumps(dictionary, ensure_ascii=False), encoding="utf-8")


def _trimmed_json(tokenizer: Tokenizer, pieces: Sequence[int]) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(tokenizer.path.read_text(encoding="utf-8"))
    model, first_tag = stored["model"], tokenizer.first_tag_id
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):  # BPE
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        kept = [*names[:SPECIALS], *(names[index] for index in pieces), *names[first_tag:]]
        model["vocab"] = {name: index for index, name in enumerate(kept)}
        pairs = [(pair, _parts(pair)) for pair in model["merges"]]
        model["merges"] = [
            pair for pair, parts in pairs if all(part in model["vocab"] for part in (*parts, "".join(parts)))
        ]
    else:
        model["vocab"] = [*vocabulary[:SPECIALS], *(vocabulary[index] for index in pieces), *vocabulary[first_tag:]]
    shift = SPECIALS + len(pieces) - first_tag
    for token in stored.get("added_tokens") or []:
        token["id"] += shift if token["id"] >= first_tag else 0
    return stored


def _merge_ranks(tokenizer: Tokenizer) -> dict[tuple[str, str], float] | dict[str, float] | None:
    """Return the priority of each merge of a BPE vocabulary, lowest first; None for a unigram one.

    SentencePiece ranks them by their results, tokenizers by their parts.
    """
    if tokenizer.path.suffix == ".json":
        model = json.loads(tokenizer.path.read_text(encoding="utf-8"))["model"]
        if not isinstance(model["vocab"], dict):
            return None
        return {_parts(pair): float(rank) for rank, pair in enumerate(model["merges"])}
    model = _read_model(tokenizer.path)
    if model.trainer_spec.model_type != protobuf.TrainerSpec.BPE:
        return None
    return {piece.piece: -piece.score for piece in model.pieces[3:]}


def _merged_parts(name: str, ranks: Mapping[Any, float]) -> list[str]:
    """Return all pieces that occur while the characters of a piece are merged, as BPE does it."""
    by_parts = isinstance(next(iter(ranks), ""), tuple)
    symbols, seen = [*name], [*name]
    while len(symbols) > 1:
        pairs = [(left, right) if by_parts else left + right for left, right in itertools.pairwise(symbols)]
        best = min(range(len(pairs)), key=lambda place: ranks.get(pairs[place], float("inf")))
        if pairs[best] not in ranks:
            break
        symbols[best : best + 2] = [symbols[best] + symbols[best + 1]]
        seen.append(symbols[best])
    return seen


def _parts(pair: Any) -> tuple[str, str]:
    """Return the two parts of a merge, which tokenizers writes as a list, or older versions with a space between."""
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return left, right


def _read_model(path: Path) -> Any:
    model = protobuf.ModelProto()
    model.ParseFromString(path.read_bytes())
    return model
