"""Several manifests as one corpus, with the columns that batching needs.

Shape letters: N utterances, G groups of utterances that are sampled together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from voxlate.data.batch_sampler import Floats, Integers, estimate_tokens, shares_by_temperature
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.manifest.table_files import Problems, Table
from voxlate.manifest.utterance import Utterance


@dataclass(frozen=True)
class LengthLimits:
    """Limits outside which an utterance is left out of training."""

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    max_target_characters: int = 512


@dataclass(frozen=True)
class Corpus:
    """Utterances of manifests.

    `direction_N` are indices into `directions`. `drops` counts the utterances left out, by reason. `teacher` maps ids
    to texts that replace the translations as training targets.
    """

    manifests: tuple[Manifest, ...]
    manifest_N: Integers
    row_N: Integers
    seconds_N: Floats
    tokens_N: Integers  # estimated
    direction_N: Integers
    directions: tuple[str, ...]
    drops: Counter[str]
    teacher: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row_N)

    def __getitem__(self, index: int) -> Utterance:
        utterance = self.manifests[int(self.manifest_N[index])][int(self.row_N[index])]
        text = self.teacher.get(utterance.id)
        return utterance if text is None else replace(utterance, target_text=text)

    def direction(self, index: int) -> str:
        """Return the direction of an utterance, such as fr-en."""
        return self.directions[int(self.direction_N[index])]

    def texts(self, column: str) -> Iterator[str]:
        """Yield the values of a text column for all utterances, "" for missing ones."""
        for number, manifest in enumerate(self.manifests):
            values = manifest.column(column)
            for row in self.row_N[self.manifest_N == number].tolist():
                yield values[row] or ""

    def target_languages(self) -> list[str]:
        """Return the codes of all target languages."""
        return sorted({direction.split("-")[1] for direction in self.directions})


def read_corpus(
    paths: Sequence[Path],
    *,
    directions: Sequence[str] | None = None,
    limits: LengthLimits | None,
    teacher: Mapping[str, str] | None = None,
) -> Corpus:
    """Read manifests whose utterances have languages, durations and translations.

    With `limits` (training), utterances outside the limits or without readable audio are dropped and counted, and each
    of the `directions` must occur. Without (validation), only utterances of other directions are dropped, and one
    matching direction is enough. VoxlateError lists the problems of all manifests.
    """
    selected = None if directions is None else [_parse_direction(name) for name in directions]
    manifests = _read_manifests(paths)
    numbers: dict[str, int] = {}  # of directions, in order of appearance
    columns = [_read_columns(manifest, numbers, teacher or {}) for manifest in manifests]
    direction_N, seconds_N, tokens_N, characters_N, unreadable_N = (
        np.concatenate(parts) for parts in zip(*columns, strict=True)
    )
    sizes = [len(manifest) for manifest in manifests]
    manifest_N, row_N = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
    kept_N = np.ones(len(row_N), dtype=bool)
    drops: Counter[str] = Counter()
    if selected is not None:
        _check_directions(selected, numbers, every=limits is not None)
        kept_N &= np.isin(direction_N, [numbers[name] for name in selected if name in numbers])
    if limits is not None:
        for manifest, part in zip(manifests, columns, strict=True):
            _check_durations(manifest, part)
        for reason, excluded_N in _exclusions(seconds_N, characters_N, unreadable_N, limits).items():
            drops[reason] = int((excluded_N & kept_N).sum())
            kept_N &= ~excluded_N
    used, renumbered_N = np.unique(direction_N[kept_N], return_inverse=True)
    names = list(numbers)
    return Corpus(
        tuple(manifests),
        manifest_N[kept_N],
        row_N[kept_N],
        seconds_N[kept_N],
        tokens_N[kept_N],
        renumbered_N,
        tuple(names[number] for number in used),
        +drops,
        teacher or {},
    )


def read_teacher(paths: Sequence[Path]) -> dict[str, str]:
    """Read a teacher's translations, JSON lines with id and text; return the texts by id. VoxlateError if invalid."""
    texts: dict[str, str] = {}
    for path in paths:
        problems = Problems(str(path))
        for line, row in Table(path, ["id", "text"], problems):
            name, text = row.get("id"), row.get("text")
            if not isinstance(name, str) or not isinstance(text, str):
                problems.add(line, f"expected id and text, got {name!r} and {text!r}")
            elif texts.setdefault(name, text) != text:
                problems.add(line, f"{name} already has a different text")
        problems.raise_any()
    return texts


class _Columns(NamedTuple):
    """Columns of one manifest.

    Direction number, duration (nan if unknown), estimated tokens, characters of the target, and whether the audio is
    unreadable.
    """

    direction_N: Integers
    seconds_N: Floats
    tokens_N: Integers
    characters_N: Integers
    unreadable_N: npt.NDArray[np.bool_]


def _read_manifests(paths: Sequence[Path]) -> list[Manifest]:
    """Read manifests. VoxlateError lists the problems of all of them."""
    manifests, problems = [], []
    for path in paths:
        try:
            manifests.append(read_manifest(path, need=("audio", "source_language", "target_language", "target_text")))
        except VoxlateError as error:
            problems.append(str(error))
    if problems:
        raise VoxlateError("\n".join(problems))
    return manifests


def _read_columns(manifest: Manifest, numbers: dict[str, int], teacher: Mapping[str, str]) -> _Columns:
    """Return the columns of a manifest; add its directions to `numbers`."""
    languages = zip(manifest.column("source_language"), manifest.column("target_language"), strict=True)
    directions = [numbers.setdefault(f"{source}-{target}", len(numbers)) for source, target in languages]
    rows = zip(manifest.column("id"), manifest.column("target_text"), strict=True)
    texts = [teacher.get(name, text or "") for name, text in rows]
    return _Columns(
        np.array(directions, dtype=np.int64),
        np.asarray(manifest.column("seconds"), dtype=np.float64),
        estimate_tokens(np.array([len(text.encode()) for text in texts], dtype=np.int64)),
        np.array([len(text) for text in texts], dtype=np.int64),
        np.array([error is not None for error in manifest.column("error")], dtype=bool),
    )


def _check_directions(selected: Sequence[str], numbers: Mapping[str, int], *, every: bool) -> None:
    """Raise VoxlateError if one of the selected directions (every=True) or all of them are missing."""
    missing = [name for name in selected if name not in numbers]
    if missing and (every or len(missing) == len(selected)):
        raise VoxlateError(f"no utterances of {', '.join(missing)}; the manifests have {', '.join(sorted(numbers))}")


def _check_durations(manifest: Manifest, columns: _Columns) -> None:
    """Raise VoxlateError if readable utterances have no duration."""
    unknown = int((np.isnan(columns.seconds_N) & ~columns.unreadable_N).sum())
    if unknown:
        raise VoxlateError(
            f"{manifest.path}: {unknown} utterances have no seconds, which batching needs; run voxlate prepare "
            "manifest on it first"
        )


def _exclusions(
    seconds_N: Floats, characters_N: Integers, unreadable_N: npt.NDArray[np.bool_], limits: LengthLimits
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which utterances to leave out of training, by reason; the first matching reason is the one to count."""
    return {
        "unreadable audio": unreadable_N,
        f"shorter than {limits.min_seconds:g} s": seconds_N < limits.min_seconds,
        f"longer than {limits.max_seconds:g} s": seconds_N > limits.max_seconds,
        "empty translation": characters_N == 0,
        f"translation of more than {limits.max_target_characters} characters": (
            characters_N > limits.max_target_characters
        ),
    }


def _parse_direction(name: str) -> str:
    """Return a direction with canonical language codes. The codes may contain dashes: zh-CN-en, en-zh-CN."""
    parts = name.split("-")
    if len(parts) < 2:
        raise VoxlateError(f"direction {name!r}: expected source-target, such as fr-en")
    for split in range(1, len(parts)):
        source, target = "-".join(parts[:split]), "-".join(parts[split:])
        try:
            return f"{find_language(source).code}-{find_language(target).code}"
        except VoxlateError:
            continue
    raise VoxlateError(f"direction {name!r}: unknown languages; expected codes such as fr-en or en-zh")


@dataclass(frozen=True)
class Sampling:
    """How often each group of utterances is sampled. A group is a direction of the new or of the replayed data."""

    names: tuple[str, ...]
    utterances_G: Integers
    hours_G: Floats
    shares_G: Floats
    group_N: Integers

    def table(self) -> list[tuple[str, int, float, float, float]]:
        """Return name, utterances, hours, sampling share, and draws of each utterance per epoch, for each group."""
        total = int(self.utterances_G.sum())
        return [
            (name, int(count), float(hours), float(share), float(share * total / count))
            for name, count, hours, share in zip(
                self.names, self.utterances_G, self.hours_G, self.shares_G, strict=True
            )
        ]


def make_sampling(
    corpus: Corpus, *, temperature: float, by_hours: bool, first_replayed: int | None = None, replay_share: float = 0.0
) -> Sampling:
    """Return the sampling shares of the directions at a temperature. VoxlateError if the corpus is empty.

    Manifests from number `first_replayed` onwards are replayed: their directions together get the share
    `replay_share`, all other directions the rest.
    """
    if not len(corpus):
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(corpus.drops.items()))
        raise VoxlateError(f"nothing is left to train on: {reasons or 'the manifests are empty'}")
    replayed_N = np.zeros(len(corpus), dtype=bool)
    if first_replayed is not None:
        replayed_N = corpus.manifest_N >= first_replayed
    keys_N = corpus.direction_N * 2 + replayed_N
    keys, group_N = np.unique(keys_N, return_inverse=True)
    utterances_G = np.bincount(group_N)
    hours_G = np.bincount(group_N, weights=corpus.seconds_N) / 3600
    sizes_G = hours_G if by_hours else utterances_G.astype(np.float64)
    replayed_G = keys % 2 == 1
    shares_G = np.zeros(len(keys))
    parts = [(~replayed_G, 1 - replay_share), (replayed_G, replay_share)] if replayed_G.any() else [(~replayed_G, 1.0)]
    for selected_G, part in parts:
        shares_G[selected_G] = part * shares_by_temperature(sizes_G[selected_G], temperature)
    names = tuple(f"{corpus.directions[key // 2]}{' (replay)' if key % 2 else ''}" for key in keys.tolist())
    return Sampling(names, utterances_G, hours_G, shares_G, group_N)
