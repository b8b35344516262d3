"""The page of a training run: its losses, learning rate, dev BLEU per direction, and speed, as self-contained HTML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxlate_eval.page_template import render_page
from voxlate_eval.strict_json import one_line
from voxlate_eval.training_log import TrainingLog, Validation, mean, read_training_log
from voxlate_eval.training_plots import training_plots

_ROWS = 25  # lines of the table of numbers
_COLUMNS = {
    "loss": ("loss", "{:.3f}"),
    "ctc": ("CTC", "{:.3f}"),
    "lr": ("learning rate", "{:.2e}"),
    "gradient_norm": ("gradient norm", "{:.2f}"),
    "audio_s/s": ("audio s/s", "{:,.0f}"),
}


def training_page(
    log: Path, name: str, settings: Mapping[str, Any], *, max_updates: int, best_update: int | None, finished: bool
) -> str:
    """Return the page of a run from its log. `best_update` is that of the exported model, None if there is none yet."""
    found = read_training_log(log)
    return render_page(
        "training.html.jinja",
        title=f"Training: {one_line(name)}",
        facts=_facts(found, max_updates, best_update, finished=finished),
        plots=training_plots(found, best_update),
        directions=_direction_table(found, best_update),
        numbers=_number_table(found),
        unreadable=found.unreadable,
        notes=_notes(found),
        settings=[(key, _setting(value)) for key, value in sorted(settings.items())],
    )


def _facts(log: TrainingLog, max_updates: int, best_update: int | None, *, finished: bool) -> list[tuple[str, str]]:
    """Return the few numbers at the top of the page, with their labels."""
    share = f"{log.update / max_updates:.0%}"
    state = "finished" if log.update == max_updates else "stopped early" if finished else share
    facts = [(f"update of {max_updates:,} ({state})", f"{log.update:,}")]
    by_update = {found.update: found for found in log.validations}
    best = by_update.get(best_update) if best_update is not None else None
    of_dev = "mean dev BLEU" if len(log.directions) > 1 else "dev BLEU"
    if best is not None:
        facts.append((f"best {of_dev}, at update {best.update:,}", f"{best.mean_bleu:.1f}"))
    if log.validations:
        facts.append(
            (f"latest {of_dev}, at update {log.validations[-1].update:,}", f"{log.validations[-1].mean_bleu:.1f}")
        )
    if log.lines:
        numbers = log.lines[-1].numbers
        facts += [
            (label, form.format(numbers[key]))
            for key, label, form in (
                ("loss", "training loss", "{:.3f}"),
                ("ctc", "CTC loss", "{:.3f}"),
                ("lr", "learning rate", "{:.2e}"),
            )
            if numbers.get(key)
        ]
    speeds = [speed for _, speed in log.curve("audio_s/s")][-10:]
    if speeds:
        facts.append(("seconds of audio per second, lately", f"{mean(speeds):,.0f}"))
    return facts


def _direction_table(log: TrainingLog, best_update: int | None) -> list[list[str]] | None:
    """Return the first, the best and the latest scores of each direction, the best being those of the best model."""
    if not log.validations:
        return None
    best = next((found for found in log.validations if found.update == best_update), None)
    first, last = log.validations[0], log.validations[-1]
    shown = dict.fromkeys(found.update for found in (first, best, last) if found is not None)
    by_update = {found.update: found for found in log.validations}
    header = ["direction", *(_at(update, best_update) for update in shown), "loss", "utterances", "without audio"]
    rows = []
    for direction in log.directions:
        scores = [_score(by_update[update], direction) for update in shown]
        latest = last.directions.get(direction, {})
        counts = [f"{latest[name]:,.0f}" if name in latest else "–" for name in ("utterances", "failed")]
        loss = f"{latest['loss']:.3f}" if "loss" in latest else "–"
        rows.append([direction.replace("-", "→"), *scores, loss, *counts])
    if len(rows) > 1:
        means = [f"{by_update[update].mean_bleu:.1f}" for update in shown]
        loss = "–" if last.mean_loss is None else f"{last.mean_loss:.3f}"
        rows.append(["mean", *means, loss, "", ""])
    return [header, *rows]


def _at(update: int, best_update: int | None) -> str:
    when = "before training" if update == 0 else f"update {update:,}"
    return f"BLEU, {when}{' (best)' if update == best_update else ''}"


def _score(found: Validation, direction: str) -> str:
    return f"{found.directions[direction]['bleu']:.1f}" if direction in found.directions else "–"


def _number_table(log: TrainingLog) -> list[list[str]] | None:
    """Return the numbers of the training lines; if there are many lines, the means of groups of them."""
    if not log.lines:
        return None
    size = -(-len(log.lines) // _ROWS)
    groups = [log.lines[start : start + size] for start in range(0, len(log.lines), size)]
    names = [name for name in _COLUMNS if any(name in line.numbers for line in log.lines)]
    skips = any(line.skipped for line in log.lines)
    rows = []
    for group in groups:
        cells = [f"{group[-1].update:,}", f"{group[-1].numbers.get('epoch', 0):.0f}"]
        for name in names:
            values = [line.numbers[name] for line in group if name in line.numbers]
            cells.append(_COLUMNS[name][1].format(mean(values)) if values else "–")
        rows.append([*cells, *([f"{sum(line.skipped for line in group):,}"] if skips else [])])
    return [["up to update", "epoch", *(_COLUMNS[name][0] for name in names), *(["skipped"] if skips else [])], *rows]


def _notes(log: TrainingLog) -> list[str]:
    notes = []
    skipped = sum(line.skipped for line in log.lines)
    if skipped:
        counted = f"{skipped:,} updates were" if skipped > 1 else "1 update was"
        notes.append(f"{counted} skipped: the gradient was not finite.")
    if log.invalid:
        notes.append(f"Damaged lines of log.jsonl, which are not shown: {log.invalid:,}.")
    if not log.lines:
        notes.append("log.jsonl has no losses yet: the first line is written after log_every updates.")
    return notes


def _setting(value: Any) -> str:
    """Return the value of a setting for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return one_line(", ".join(map(_setting, value))) or "–"
    return "–" if value is None or value == {} else one_line(str(value))
