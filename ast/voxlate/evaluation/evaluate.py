"""The command ``voxlate evaluate``: translate test sets and score the hypotheses, one direction after another."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxlate.checkpoints.hub import find_model
from voxlate.decoding.command_streams import bound_freed_memory, keep_freed_memory
from voxlate.decoding.launched_processes import join_launch
from voxlate.decoding.ray_cluster import check_ray, ray_cluster
from voxlate.decoding.ray_translator import RayTranslator
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

if TYPE_CHECKING:
    from voxlate.decoding.translator import Translator

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
    num_workers: int | None = None
    ray: str | None = None  # address of a cluster


def run(command: EvaluateCommand) -> int:
    """Run the evaluation; return 0, 1 if clips failed (they are scored as empty hypotheses), or 130 if interrupted."""
    try:
        tasks = _find_tasks(command)
        find_model(command.model)
        if command.ray is not None:
            check_ray(command.device)
        # A process for each GPU, if accelerate launch has started several; those of Ray are not its own.
        state, device = join_launch(command.device if command.ray is None else "cpu")
        if command.overwrite and state.is_main_process:
            for task in tasks:
                delete_hypotheses(task)
        state.wait_for_everyone()
        with ExitStack() as stack:
            translator, progress = _load_translator(command, tasks, device, stack)
            failed, scores = 0, []
            for task in tasks:
                failed += translate(
                    task,
                    translator,
                    command.search,
                    command.segmentation_options,
                    state,
                    progress,
                    command.num_workers,
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


def _load_translator(
    command: EvaluateCommand, tasks: Sequence[Task], device: str, stack: ExitStack
) -> tuple["Translator | RayTranslator", Callable[[float, float], None] | None]:
    """Load the model, here or in the processes of Ray; return it and the `progress` of its stream.

    VoxlateError if it lacks a target language, before hours are spent on other directions.
    """
    arguments: dict[str, Any] = {
        "model": command.model,
        "dtype": command.dtype,
        "batch_size": command.batch_size,
        "language_tokens": command.language_tokens,
        "shortlist": command.shortlist,
    }
    languages = list(dict.fromkeys(task.target_language for task in tasks))
    if command.ray is not None:
        stack.enter_context(ray_cluster(command.ray))
        return RayTranslator(command.ray, command.device, arguments, command.search, languages, stderr()), None
    from voxlate.decoding.translator import Translator  # noqa: PLC0415 (options are checked before torch is imported)

    freed = keep_freed_memory(device)
    translator = Translator(**arguments, device=device)
    for language in languages:
        translator.checkpoint.target_id(language)
    return translator, bound_freed_memory(freed)


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
