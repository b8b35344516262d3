"""Tables of published models, with their published BLEU: for `voxlate models` and for the documentation."""

from collections.abc import Sequence

from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.published_models import PublishedModel, hub_id, published_models
from voxlate.registry import unknown_name
from voxlate_eval.published import find_system, provenances
from voxlate_eval.published_list import describe_averages

ROLES = {"translation": "Translation models", "encoder": "Speech encoders", "decoder": "Text decoders"}
_ARROWS = {"x-en": "X→en", "en-x": "en→X"}
_FEW = 3  # languages that are listed by code


def table_rows(models: Sequence[PublishedModel]) -> list[list[str]]:
    """Return the titles and cells of a table of models of the same role."""
    titles = ["name", "Hub id", "speech", "text", "parameters", "download", "weights", "license", "CoVoST-2 BLEU"]
    rows = [titles, *map(_row, models)]
    used = [any(row[column] for row in rows[1:]) for column in range(len(titles))]
    return [[cell for cell, is_used in zip(row, used, strict=True) if is_used] for row in rows]


def text_tables() -> str:
    """Return the tables of all roles, with aligned columns."""
    parts = []
    for role, title in ROLES.items():
        rows = table_rows([model for model in published_models().values() if model.role == role])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts)


def markdown_table(role: str) -> str:
    """Return the table of a role in Markdown."""
    titles, *rows = table_rows([model for model in published_models().values() if model.role == role])
    quoted = [[f"`{name}`", f"`{model}`", *others] for name, model, *others in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, *quoted)]
    return "\n".join([lines[0], "|---" * len(titles) + "|", *lines[1:]])


def describe(name: str) -> str:
    """Return everything that is known about a model, by short name or Hub id. VoxlateError if it is unknown."""
    known = published_models()
    model = known.get(name.lower()) or next((one for one in known.values() if one.hub_id == hub_id(name)), None)
    if model is None:
        raise VoxlateError(f"{unknown_name('published model', name, known)}; voxlate models lists all")
    found = {
        "Hub id": f"{model.hub_id} (https://huggingface.co/{model.hub_id})",
        "kind": f"{ROLES[model.role][:-1].lower()} ({model.model_type})",
        "parameters": f"{model.parameters:,}",
        "download": f"{model.download_gb:g} GB",
        "weights": f"{_weights(model)} GB in float32 / bfloat16; a process needs more",
        "speech": _all_languages(model.speech),
        "text": _all_languages(model.text),
        "license": f"{model.license}{', which forbids commercial use' if model.forbids_commercial_use else ''}",
        "BLEU": _bleu(model),
        "source": _source(model),
    }
    return "\n".join([model.name, *(f"  {title:10}  {value}" for title, value in found.items() if value)])


def _row(model: PublishedModel) -> list[str]:
    return [
        model.name,
        model.hub_id,
        _languages(model.speech),
        _languages(model.text),
        f"{model.parameters / 1e6:,.0f} M",
        f"{model.download_gb:g} GB",
        f"{_weights(model)} GB",
        model.license,
        _bleu(model) or ("not published" if model.role == "translation" else ""),
    ]


def _weights(model: PublishedModel) -> str:
    """Return the size of the weights in memory in float32 and in bfloat16."""
    return f"{model.parameters * 4 / 1e9:.1f} / {model.parameters * 2 / 1e9:.1f}"


def _languages(languages: tuple[str, ...] | int) -> str:
    """Return the number of languages, or their codes if they are few."""
    if isinstance(languages, int):
        return f"{languages:,}"
    return " ".join(languages) if len(languages) <= _FEW else str(len(languages))


def _all_languages(languages: tuple[str, ...] | int) -> str:
    if isinstance(languages, int):
        return f"{languages:,} languages"
    if len(languages) <= _FEW:
        return ", ".join(f"{find_language(code).name} ({code})" for code in languages)
    return f"{len(languages)} languages: {' '.join(sorted(languages))}"


def _sides(model: PublishedModel) -> list[str]:
    """Return the sides of CoVoST-2 that a model translates: x-en, en-x, or both."""
    known = {"x-en": model.text, "en-x": model.speech}
    return [side for side, codes in known.items() if not isinstance(codes, int) and "en" in codes]


def _bleu(model: PublishedModel) -> str:
    """Return the published averages of the directions that the model translates."""
    if model.system is None:
        return ""
    averages = describe_averages(find_system(model.system)).split(", ")
    return ", ".join(one for one in averages if any(one.split()[1] == _ARROWS[side] for side in _sides(model)))


def _source(model: PublishedModel) -> str:
    """Return where the averages come from."""
    if model.system is None:
        return ""
    system = find_system(model.system)
    keys = {key for name, key in system.provenance.items() for side in _sides(model) if _is_of(name, side)}
    sources = sorted({provenances()[key].source for key in keys})
    return f'"{model.system}" of voxlate published: {"; ".join(sources)}'


def _is_of(name: str, side: str) -> bool:
    """Return whether a direction or average, such as fr-en or avg-x-en, is of a side."""
    return name.endswith("-en") if side == "x-en" else name.startswith("en-") or "-en-x" in name
