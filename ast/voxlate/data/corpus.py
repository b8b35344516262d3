"""Several manifests as one corpus: their utterances by number, what batches need to know of them as columns.

Shape letters: N utterances, G groups of a direction.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from voxlate.data.batch_sampler import Floats, Integers, estimate_tokens, shares_by_temperature
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.manifest.table_files import Problems, Table
from voxlate.manifest.utterance import Utterance


@dataclass(frozen=True)
class Limits:
    """What is too short, too long, or of another direction to be trained on."""

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    max_target_characters: int = 512


@dataclass(frozen=True)
class Corpus:
    """Utterances of manifests. `direction_N` numbers the pairs of `directions`; `drops` counts what was left out."""

    manifests: tuple[Manifest, ...]
    manifest_N: Integers
    row_N: Integers
    seconds_N: Floats
    tokens_N: Integers  # estimated
    direction_N: Integers
    directions: tuple[str, ...]
    drops: Counter[str]
    teacher: Mapping[str, str] = field(default_factory=dict)  # texts to learn instead of the translations, by id

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
        """Yield a column of all utterances, an empty text where there is none."""
        for number, manifest in enumerate(self.manifests):
            values = manifest.column(column)
            for row in self.row_N[self.manifest_N == number].tolist():
                yield values[row] or ""

    def target_languages(self) -> list[str]:
        """Return the codes of the languages to translate into."""
        return sorted({direction.split("-")[1] for direction in self.directions})


def read_corpus(
    paths: Sequence[Path],
    *,
    directions: Sequence[str] | None = None,
    limits: Limits | None,
    teacher: Mapping[str, str] | None = None,
) -> Corpus:
    """Read manifests whose utterances have languages, duration and translation.

    With `limits` (training) what they exclude, and what has no readable audio, is dropped and counted. Without
    (validation) nothing is dropped but other directions than those wanted. VoxlateError names all problems of all
    manifests, and wanted directions that none of them has.
    """
    wanted = [_direction(name) for name in directions] if directions is not None else None
    taught = teacher or {}
    manifests, problems = [], []
    for path in paths:
        try:
            manifests.append(read_manifest(path, need=("audio", "source_language", "target_language", "target_text")))
        except VoxlateError as error:
            problems.append(str(error))
    if problems:
        raise VoxlateError("\n".join(problems))
    names: dict[str, int] = {}
    drops: Counter[str] = Counter()
    columns: list[tuple[Integers, Integers, Floats, Integers, Integers]] = []
    for number, manifest in enumerate(manifests):
        pairs = zip(manifest.column("source_language"), manifest.column("target_language"), strict=True)
        directions_N = np.array([names.setdefault(f"{source}-{target}", len(names)) for source, target in pairs])
        seconds_N = np.asarray(manifest.column("seconds"), dtype=np.float64)
        pairs_of_text = zip(manifest.column("id"), manifest.column("target_text"), strict=True)
        texts = [taught.get(name, text or "") for name, text in pairs_of_text]
        tokens_N = estimate_tokens(np.array([len(text.encode()) for text in texts], dtype=np.int64))
        kept_N = np.ones(len(manifest), dtype=bool)
        if wanted is not None:
            kept_N &= np.isin(directions_N, [names[name] for name in wanted if name in names])
        if limits is not None:
            reasons = _reasons(manifest, seconds_N, texts, limits)
            for reason, excluded_N in reasons.items():
                drops[reason] += int((excluded_N & kept_N).sum())
                kept_N &= ~excluded_N
        rows = np.flatnonzero(kept_N)
        columns.append((np.full(len(rows), number), rows, seconds_N[rows], tokens_N[rows], directions_N[rows]))
    missing = [name for name in wanted or [] if name not in names]
    if missing and (limits is not None or len(missing) == len(wanted or [])):  # validation may cover fewer
        raise VoxlateError(f"no utterances of {', '.join(missing)}; the manifests have {', '.join(sorted(names))}")
    manifest_N, row_N, seconds_N, tokens_N, direction_N = (
        np.concatenate(parts) for parts in zip(*columns, strict=True)
    )
    used, renumbered_N = np.unique(direction_N, return_inverse=True)
    every = list(names)
    used_directions = tuple(every[index] for index in used)
    drops = +drops
    return Corpus(
        tuple(manifests), manifest_N, row_N, seconds_N, tokens_N, renumbered_N, used_directions, drops, taught
    )


def read_teacher(paths: Sequence[Path]) -> dict[str, str]:
    """Read translations that a teacher made, lines of JSON with id and text. VoxlateError for anything else."""
    texts: dict[str, str] = {}
    for path in paths:
        problems = Problems(str(path))
        for line, row in Table(path, ["id", "text"], problems):
            name, text = row.get("id"), row.get("text")
            if not isinstance(name, str) or not isinstance(text, str):
                problems.add(line, f"expected id and text, got {name!r} and {text!r}")
            elif texts.setdefault(name, text) != text:
                problems.add(line, f"{name}: another text was there before")
        problems.raise_any()
    return texts


def _reasons(manifest: Manifest, seconds_N: Floats, texts: Sequence[str], limits: Limits) -> dict[str, Integers]:
    """Return what to leave out of training, by reason; an utterance counts under the first that fits."""
    unknown_N = np.isnan(seconds_N)
    errors_N = np.array([error is not None for error in manifest.column("error")])
    if (unknown_N & ~errors_N).any():
        raise VoxlateError(
            f"{manifest.path}: {int((unknown_N & ~errors_N).sum())} utterances without seconds, which batches are made "
            "by; run voxlate prepare manifest on it first"
        )
    characters_N = np.array([len(text) for text in texts])
    return {
        "unreadable audio": errors_N,
        f"shorter than {limits.min_seconds:g} s": seconds_N < limits.min_seconds,
        f"longer than {limits.max_seconds:g} s": seconds_N > limits.max_seconds,
        "empty translation": characters_N == 0,
        f"translation of more than {limits.max_target_characters} characters": (
            characters_N > limits.max_target_characters
        ),
    }


def _direction(name: str) -> str:
    source, separator, target = name.partition("-")
    if not separator:
        raise VoxlateError(f"direction {name!r}: expected source-target, such as fr-en")
    for cut in range(1, name.count("-") + 1):  # zh-CN-en and en-zh-CN have more than one dash
        parts = name.split("-")
        source, target = "-".join(parts[:cut]), "-".join(parts[cut:])
        try:
            return f"{find_language(source).code}-{find_language(target).code}"
        except VoxlateError:
            continue
    raise VoxlateError(f"direction {name!r}: unknown languages; expected codes such as fr-en or en-zh")


@dataclass(frozen=True)
class Sampling:
    """How often each group of utterances is drawn: a direction, or a direction of replayed data."""

    names: tuple[str, ...]
    utterances_G: Integers
    hours_G: Floats
    shares_G: Floats
    group_N: Integers

    def table(self) -> list[tuple[str, int, float, float, float]]:
        """Return name, utterances, hours, share of the draws, and how often an epoch draws each utterance."""
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
    """Return the shares of directions at a temperature.

    Manifests numbered from `first_replayed` on are replayed: their directions get `replay_share` of the draws between
    them, all others the rest.
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
    for chosen_G, part in parts:
        shares_G[chosen_G] = part * shares_by_temperature(sizes_G[chosen_G], temperature)
    names = tuple(f"{corpus.directions[key // 2]}{' (replay)' if key % 2 else ''}" for key in keys.tolist())
    return Sampling(names, utterances_G, hours_G, shares_G, group_N)
