"""The command ``voxlate evaluate``: translate test sets and score the hypotheses, one direction after another."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxlate.checkpoints.hub import find_model
from voxlate.decoding.segmenting import DEFAULT_SEGMENTATION, SegmentationOptions
from voxlate.errors import VoxlateError
from voxlate.evaluation.hypotheses import HYPOTHESES, Task, delete_hypotheses, has_recordings, translate
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
    """The options of ``voxlate evaluate``."""

    model: str
    data: Sequence[Path]
    output: Path
    directions: Sequence[str] = ("all",)
    split: str | None = None  # of folders, and of manifests with a split column; test by default
    search: SearchOptions = field(default_factory=SearchOptions)
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    shortlist: bool = False
    scoring: Scoring = field(default_factory=Scoring)
    overwrite: bool = False
    language_tokens: Mapping[str, int | str] = field(default_factory=dict)
    segmentation_options: SegmentationOptions = DEFAULT_SEGMENTATION  # of recordings


def run(command: EvaluateCommand) -> int:
    """Run the evaluation; return 0, 1 if clips failed (they are scored as empty hypotheses), or 130 if interrupted."""
    try:
        tasks = _find_tasks(command)
        find_model(command.model)
        from accelerate import PartialState  # noqa: PLC0415 (options are checked before torch is imported)

        from voxlate.decoding.command_streams import bound_freed_memory, keep_freed_memory  # noqa: PLC0415
        from voxlate.decoding.translator import Translator  # noqa: PLC0415
        from voxlate.hardware import choose_device  # noqa: PLC0415

        device = choose_device(command.device)
        state = PartialState(cpu=device.type == "cpu")
        if state.num_processes > 1 and device.index is None:
            device = state.device  # a GPU for each process
        if command.overwrite and state.is_main_process:
            for task in tasks:
                delete_hypotheses(task)
        state.wait_for_everyone()
        freed = keep_freed_memory(str(device))
        translator = Translator(
            command.model,
            device=str(device),
            dtype=command.dtype,
            batch_size=command.batch_size,
            language_tokens=command.language_tokens,
            shortlist=command.shortlist,
        )
        for task in tasks:  # raises VoxlateError before hours are spent on other directions
            translator.checkpoint.target_id(task.target_language)
        failed, scores = 0, []
        for task in tasks:
            failed += translate(
                task, translator, command.search, command.segmentation_options, state, bound_freed_memory(freed)
            )
            if state.is_main_process:
                records = join(read_hypotheses(task.folder / HYPOTHESES), references_of(task.manifest))
                scores.append(evaluate_folder(records, command.scoring, task.folder))
                stderr().print(f"{task.direction}: {scores[-1]['n']:,} sentences, {task.folder / SCORES}")
    except KeyboardInterrupt:
        stderr().print("interrupted; rerun the same command to resume", style="bold")
        return 130
    if not state.is_main_process:
        return 0  # a non-zero exit from any worker makes the launcher kill the job
    print_scores(scores)
    return 1 if failed else 0


def _find_tasks(command: EvaluateCommand) -> list[Task]:
    """Read the manifests of the chosen directions. VoxlateError if there are none, or two have the same direction."""
    tasks: dict[str, Task] = {}
    seen = []
    for path in _manifests(command):
        needed = ("audio", "target_text", "target_language", "source_language")
        manifest = read_manifest(path, need=needed, recordings=True)
        manifest = _select_split(manifest, command.split, is_named=path not in command.data)
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
            chosen = ", ".join(command.directions)
            raise VoxlateError(f"--data has nothing for --directions {chosen}; it has {', '.join(seen)}")
        name = f"{command.split or 'test'}.jsonl"
        folders = ", ".join(map(str, command.data))
        raise VoxlateError(f"--data {folders}: no DIRECTION/{name} (such as fr-en/{name}); name manifests themselves")
    changed = command.segmentation_options.changed()
    if changed and not any(has_recordings(task.manifest) for task in tasks.values()):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
        raise VoxlateError(
            f"{names}: --data has no recordings, whose target_text is a list of sentences; clips are translated whole"
        )
    return list(tasks.values())


def _manifests(command: EvaluateCommand) -> Iterator[Path]:
    for path in command.data:
        if path.is_dir():
            yield from sorted(
                manifest
                for suffix in _SUFFIXES
                for manifest in path.glob(f"*/{command.split or 'test'}{suffix}")
                if manifest.is_file()
            )
        else:
            yield path


def _select_split(manifest: Manifest, split: str | None, *, is_named: bool) -> Manifest:
    """Return the rows of a split, and report how many others are left out.

    All rows are returned if the manifest has no split column, or only one split and either none is chosen or the file
    is named after the chosen one (`is_named`). If it has several splits, the default is test.
    """
    splits = manifest.column("split")
    counts = Counter(splits)
    if counts.keys() <= {None} or (len(counts) == 1 and (split is None or is_named)):
        return manifest
    name = split or "test"
    rows = [row for row, row_split in enumerate(splits) if row_split == name]
    others = ", ".join(f"{count:,} of {other or 'no split'}" for other, count in counts.most_common() if other != name)
    if not rows:
        raise VoxlateError(f"{manifest.path}: no rows of the split {name}; it has {others}: choose one with --split")
    if others:
        stderr().print(f"{manifest.path}: scoring {len(rows):,} rows of {name}, leaving out {others}", style="yellow")
    return manifest if len(rows) == len(manifest) else manifest.subset(rows)


def _direction(path: Path, manifest: Manifest) -> str:
    pairs = {*zip(manifest.column("source_language"), manifest.column("target_language"), strict=True)}
    if not pairs:
        raise VoxlateError(f"{path}: no rows; expected a test set")
    if len(pairs) > 1:
        listed = ", ".join(sorted(f"{source}-{target}" for source, target in pairs)[:5])
        raise VoxlateError(
            f"{path}: several directions ({listed}), expected one; split it into one manifest per direction"
        )
    [(source, target)] = pairs
    return f"{source}-{target}"
