"""The command ``voxlate evaluate``: translate test sets and score what came out, direction by direction."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxlate.checkpoints.hub import find_model
from voxlate.errors import VoxlateError
from voxlate.evaluation.hypotheses import HYPOTHESES, Task, forget, translate
from voxlate.evaluation.references import references_of
from voxlate.evaluation.scoring import Scoring, evaluate_folder, is_chosen, print_scores
from voxlate.manifest.reading import Manifest, read_manifest
from voxlate.progress import stderr
from voxlate.search_options import SearchOptions
from voxlate_eval.records import join, read_hypotheses
from voxlate_eval.score import SCORES

_SUFFIXES = (".jsonl", ".tsv", ".csv", ".parquet")


@dataclass(frozen=True)
class EvaluateCommand:
    """What the user asked for; the fields are the options of the command line."""

    model: str
    data: Sequence[Path]
    output: Path
    directions: Sequence[str] = ("all",)
    split: str | None = None  # of folders, and of manifests that say of which split their rows are; test by default
    search: SearchOptions = field(default_factory=SearchOptions)
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    shortlist: bool = False
    scoring: Scoring = field(default_factory=Scoring)
    overwrite: bool = False
    language_tokens: Mapping[str, int | str] = field(default_factory=dict)


def run(command: EvaluateCommand) -> int:
    """Evaluate; return 0, or 1 if clips failed (they count against the score)."""
    try:
        tasks = _find_tasks(command)
        find_model(command.model)
        from accelerate import PartialState  # noqa: PLC0415 (what is wrong is answered before torch is loaded)

        from voxlate.decoding.translator import Translator  # noqa: PLC0415
        from voxlate.hardware import choose_device  # noqa: PLC0415

        device = choose_device(command.device)
        state = PartialState(cpu=device.type == "cpu")
        if state.num_processes > 1 and device.index is None:
            device = state.device  # a GPU for each process
        if command.overwrite and state.is_main_process:
            for task in tasks:
                forget(task)
        state.wait_for_everyone()
        translator = Translator(
            command.model,
            device=str(device),
            dtype=command.dtype,
            batch_size=command.batch_size,
            language_tokens=command.language_tokens,
            shortlist=command.shortlist,
        )
        for task in tasks:  # before hours are spent on others
            translator.checkpoint.target_id(task.target_language)
        failed, scores = 0, []
        for task in tasks:
            failed += translate(task, translator, command.search, state)
            if state.is_main_process:
                records = join(read_hypotheses(task.folder / HYPOTHESES), references_of(task.manifest))
                scores.append(evaluate_folder(records, command.scoring, task.folder))
                stderr().print(f"{task.direction}: {scores[-1]['n']:,} clips, {task.folder / SCORES}")
    except KeyboardInterrupt:
        stderr().print("interrupted; rerun the same command to resume", style="bold")
        return 130
    if not state.is_main_process:
        return 0  # whoever ends with another code is the end of all
    print_scores(scores)
    return 1 if failed else 0


def _find_tasks(command: EvaluateCommand) -> list[Task]:
    """Read the manifests that are meant; one VoxlateError where there is none, or two of one direction."""
    tasks: dict[str, Task] = {}
    seen = []
    for path in _manifests(command):
        manifest = read_manifest(path, need=("audio", "target_text", "target_language", "source_language"))
        manifest = _of_split(manifest, command.split, is_named=path not in command.data)
        direction = _direction(path, manifest)
        seen.append(direction)
        if not is_chosen(direction, command.directions):
            continue
        if direction in tasks:
            raise VoxlateError(
                f"{path} and {tasks[direction].manifest.path} are both {direction}; evaluate one into another --output"
            )
        tasks[direction] = Task(manifest, command.output / direction, direction, direction.split("-", 1)[1])
    if not tasks:
        if seen:
            wanted = ", ".join(command.directions)
            raise VoxlateError(f"--data has nothing for --directions {wanted}; it has {', '.join(seen)}")
        name = f"{command.split or 'test'}.jsonl"
        folders = ", ".join(map(str, command.data))
        raise VoxlateError(f"--data {folders}: no DIRECTION/{name} (such as fr-en/{name}); name manifests themselves")
    return list(tasks.values())


def _manifests(command: EvaluateCommand) -> Iterator[Path]:
    for path in command.data:
        if path.is_dir():
            yield from sorted(
                found
                for suffix in _SUFFIXES
                for found in path.glob(f"*/{command.split or 'test'}{suffix}")
                if found.is_file()
            )
        else:
            yield path


def _of_split(manifest: Manifest, wanted: str | None, *, is_named: bool) -> Manifest:
    """Return the rows of the wanted split, and say what is left out; all rows where the manifest names no split.

    A manifest of one split is taken whole unless another one is asked for; of several, the rows of test. A file that
    is named after the wanted split (`is_named`), such as the rows of train in taught.jsonl, is taken whole, too.
    """
    splits = manifest.column("split")
    counts = Counter(splits)
    if counts.keys() <= {None} or (len(counts) == 1 and (wanted is None or is_named)):
        return manifest
    name = wanted or "test"
    rows = [row for row, split in enumerate(splits) if split == name]
    others = ", ".join(f"{count:,} of {split or 'no split'}" for split, count in counts.most_common() if split != name)
    if not rows:
        raise VoxlateError(f"{manifest.path}: no rows of the split {name}; it has {others}: choose one with --split")
    if others:
        stderr().print(
            f"{manifest.path}: {len(rows):,} rows of {name} are scored, left out are {others}", style="yellow"
        )
    return manifest if len(rows) == len(manifest) else manifest.subset(rows)


def _direction(path: Path, manifest: Manifest) -> str:
    pairs = {*zip(manifest.column("source_language"), manifest.column("target_language"), strict=True)}
    if not pairs:
        raise VoxlateError(f"{path}: no rows; expected a test set")
    if len(pairs) > 1:
        listed = ", ".join(sorted(f"{source}-{target}" for source, target in pairs)[:5])
        raise VoxlateError(
            f"{path}: several directions ({listed}), expected one; divide it into a manifest for each direction"
        )
    [(source, target)] = pairs
    return f"{source}-{target}"
