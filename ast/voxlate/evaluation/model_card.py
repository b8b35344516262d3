"""Write the model card of a model: README.md with the metadata of the Hub, `model-index` included.

The metadata follow huggingface.co/docs/hub/model-cards. Scores come from the files of ``voxlate evaluate``, and must be
those of the model's own weights.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, hf_hub_download, metadata_load
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from yaml import YAMLError

import voxlate
from voxlate.checkpoints.model_folder import listed_directions
from voxlate.checkpoints.weights import weights_sha256
from voxlate.config.schema import TrainConfig, read_config
from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.languages import look_up_language
from voxlate.published_models import NOT_STATED, find_published, hub_id
from voxlate_eval.score_files import read_scores

CARD_FILE = "README.md"
_RUN_FILE = "config.yaml"
_MODELS = ("averaged", "best")  # of a run, the first one that exists


@dataclass(frozen=True)
class CardOptions:
    """What a card says besides what the files of the model say.

    `name` is the model's name on the Hub, as owner/name; `license` is the Hub's identifier of the weights' license.
    """

    name: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class _Model:
    """A model folder, and the settings of the run that made it, if it is in the folder of one."""

    folder: Path
    config: TrainConfig | None
    scores: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def origins(self) -> dict[str, str | None]:
        """The models whose weights training started from, as Hub ids or folders, and their licenses."""
        if self.config is None:
            return {}
        model = self.config.model
        names = (hub_id(str(name)) for name in (model.init_from, model.encoder, model.decoder) if name)
        return {name: license_of(name) for name in names}

    @property
    def directions(self) -> list[str]:
        """The directions that are known to work: listed by the model, or scored."""
        return sorted({*listed_directions(self.folder), *(entry["direction"] for entry in self.scores)})


def write_card(
    path: Path, scores: Sequence[Path], options: CardOptions, output: Path | None = None, *, overwrite: bool = False
) -> tuple[Path, Path, list[str]]:
    """Write the card of a model or run folder; return its path, the model folder, and notes about what it lacks.

    `scores` are folders written by ``voxlate evaluate``, or their parents. The card is README.md in the folder of the
    model, or `output`. VoxlateError if a file is missing or damaged, scores are those of other weights, or there is a
    card that may not be overwritten.
    """
    by_file = _read_all_scores(scores)
    folder = _model_folder(path, by_file)
    output = output or folder / CARD_FILE
    if output.exists() and not overwrite:
        raise VoxlateError(f"{output}: exists; --overwrite replaces it, --output writes elsewhere")
    run = next((one for one in (folder, folder.parent) if (one / _RUN_FILE).is_file()), None)
    config = read_config(run / _RUN_FILE, warn=False) if run else None
    in_order = sorted(by_file.values(), key=lambda entry: (not entry["direction"].endswith("-en"), entry["direction"]))
    model = _Model(folder, config, in_order)
    write_text(output, f"---\n{_metadata(model, options).to_yaml()}\n---\n\n{_text(model, options)}")
    notes = []
    if options.license is None:
        origins = "; ".join(f"{name}: {license_ or 'license unknown'}" for name, license_ in model.origins.items())
        started = f" (it was started from {origins})" if origins else ""
        notes.append(f"the card states no license; choose one with --license{started}")
    if not model.scores:
        notes.append("the card has no scores; add those of voxlate evaluate with --scores")
    return output, folder, notes


def _model_folder(path: Path, scores: Mapping[Path, dict[str, Any]]) -> Path:
    """Return the model folder at a path: the folder itself, or the model of a run that has the scores.

    VoxlateError if there is none, or scores are those of other weights.
    """
    folders = [folder for folder in (path, *(path / name for name in _MODELS)) if (folder / "config.json").is_file()]
    if not folders:
        raise VoxlateError(f"{path}: no model; expected a model folder, or a run folder written by voxlate train")
    if not scores:
        return folders[0]
    made_with = {file: str(entry["recipe"].get("weights_sha256")) for file, entry in scores.items()}
    folder = next((one for one in folders if weights_sha256(one) in made_with.values()), folders[0])
    own = weights_sha256(folder)
    for file, other in made_with.items():
        if other != own:
            raise VoxlateError(
                f"{file}: scores of other weights than those of {folder} (SHA-256 {other[:12]}…, not {own[:12]}…); "
                "evaluate this model"
            )
    return folder


def license_of(model: str) -> str | None:
    """Return the license that the card of a model states, as the Hub names it; None if it is not known.

    If there is no card here, it is that of the table of published models.
    """
    path: Path | str = Path(model) / CARD_FILE
    if not Path(path).is_file():
        try:
            path = hf_hub_download(model.partition("@")[0], CARD_FILE)  # from the cache if it is there
        except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError):
            known = find_published(model)
            return known.license.lower() if known is not None and known.license != NOT_STATED else None
    try:
        license_ = (metadata_load(path) or {}).get("license")
    except (ValueError, YAMLError):
        return None
    return str(license_) if license_ else None


def _read_all_scores(paths: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """Return the scores in folders by file. VoxlateError if there are none, or two of the same data."""
    scores: dict[Path, dict[str, Any]] = {}
    seen = set()
    for path in paths:
        files = [path] if path.is_file() else sorted([*path.glob("scores.json"), *path.glob("*/scores.json")])
        if not files:
            raise VoxlateError(f"--scores {path}: no scores.json; expected a folder written by voxlate evaluate")
        for file in files:
            entry = read_scores(file)
            key = entry["direction"], entry["split"], str(entry["recipe"].get("manifest"))
            if key in seen:
                raise VoxlateError(f"{file}: a second score of {entry['direction']} on the same data; give only one")
            seen.add(key)
            scores[file] = entry
    return scores


def _metadata(model: _Model, options: CardOptions) -> ModelCardData:
    return ModelCardData(
        model_name=_title(model, options),
        license=options.license,
        language=sorted({code for direction in model.directions for code in direction.rsplit("-", 1)}) or None,
        library_name="voxlate",
        pipeline_tag="automatic-speech-recognition",
        tags=["speech-translation", "voxlate"],
        base_model=[name for name in model.origins if _is_hub_id(name)] or None,
        metrics=[*dict.fromkeys(name.lower() for entry in model.scores for name in entry["metrics"])] or None,
        eval_results=[result for entry in model.scores for result in _results(entry)] or None,
    )


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None and not Path(name).exists()


def _results(entry: Mapping[str, Any]) -> list[EvalResult]:
    """Return the metrics of a direction as entries of `model-index`."""
    manifest = str(entry["recipe"].get("manifest") or entry["files"].get("references") or "test set")
    return [
        EvalResult(
            task_type="automatic-speech-recognition",
            task_name="Speech translation",
            dataset_type=Path(manifest).stem,
            dataset_name=f"{Path(manifest).name} ({entry['direction']})",
            dataset_config=entry["direction"],
            dataset_split=entry["split"],
            metric_type=name.lower(),
            metric_name=f"{name} {entry['direction']}",
            metric_value=round(metric["value"], 2),
            metric_args={"signature": metric["signature"]},
        )
        for name, metric in entry["metrics"].items()
    ]


def _title(model: _Model, options: CardOptions) -> str:
    folder = model.folder.resolve()
    return (options.name or (folder.parent if folder.name in _MODELS else folder).name).rpartition("/")[2]


def _text(model: _Model, options: CardOptions) -> str:
    """Return the card's text in Markdown."""
    name = options.name or "OWNER/NAME"
    target = model.directions[0].rpartition("-")[2] if model.directions else "en"
    parts = [
        f"# {_title(model, options)}",
        "",
        _purpose(model),
        "",
        "```sh",
        f"voxlate translate talk.mp3 --model {name} --to {target}",
        "```",
    ]
    if model.scores:
        parts += ["", "## Scores", "", *_score_table(model), "", *_signatures(model)]
    if model.config is not None:
        parts += ["", "## Training", "", *_training(model)]
    parts += ["", f"This card was written by `voxlate card` (Voxlate {voxlate.__version__}).", ""]
    return "\n".join(parts)


def _purpose(model: _Model) -> str:
    names = [" to ".join(_language(code) for code in direction.rsplit("-", 1)) for direction in model.directions]
    directions = f"from {'; '.join(names)}" if names else "to text"
    return (
        f"This model translates speech {directions}. It is a `SpeechEncoderDecoderModel` of transformers, and was made "
        "with Voxlate."
    )


def _language(code: str) -> str:
    found = look_up_language(code)
    return found.name if found else code


def _score_table(model: _Model) -> list[str]:
    metrics = [*dict.fromkeys(name for entry in model.scores for name in entry["metrics"])]
    rows = [["direction", "split", "sentences", *metrics], ["---", "---", "---:", *["---:"] * len(metrics)]]
    for entry in model.scores:
        values = (entry["metrics"].get(name) for name in metrics)
        cells = ["" if metric is None else f"{metric['value']:.1f}" for metric in values]
        official = entry["official_n"]
        count = f"{entry['n']:,}" + (f" of {official:,}" if official not in (None, entry["n"]) else "")
        rows.append([entry["direction"].replace("-", "→"), entry["split"] or "", count, *cells])
    return [f"| {' | '.join(row)} |" for row in rows]


def _signatures(model: _Model) -> list[str]:
    pairs = dict.fromkeys(
        (name, metric["signature"]) for entry in model.scores for name, metric in entry["metrics"].items()
    )
    return [f"- {name}: `{signature}`" for name, signature in pairs]


def _training(model: _Model) -> list[str]:
    """Return what the model was started from, with licenses, its data, and the main settings."""
    assert model.config is not None
    config = model.config
    origins = [
        f"`{name if _is_hub_id(name) else Path(name).name}` (license: {license_ or 'see its card'})"
        for name, license_ in model.origins.items()
    ]
    data = ", ".join(f"`{path.name}`" for path in [*config.data.train, *config.data.replay])
    optimizer = config.optimizer
    return [
        f"- started from: {' and '.join(origins) or 'random weights'}",
        f"- training data: {data}",
        f"- trained parts: {config.trainable.preset}",
        f"- {optimizer.max_updates:,} updates, learning rate {optimizer.lr:g}, {config.precision}, seed {config.seed}",
    ]
