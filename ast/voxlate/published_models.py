"""Published models by short name: the table published_models.csv, which `voxlate models` and the documentation show.

A row is one model:

- ``name``, which is accepted wherever a model is, and ``hub_id``;
- ``role``: translation, encoder or decoder; ``model_type``: that of its config.json, or fairseq2 for a `.pt` file;
- ``parameters``: those that are loaded, of a decoder without its encoder; ``download_gb``: size of the weight files;
- ``speech``, ``text``: codes of the languages from and into which it was trained, or their number if that is all that a
  speech encoder or text decoder states;
- ``license`` of the weights as its card states it; ``system``: its row in the published scores (`voxlate published`).
"""

import csv
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

NOT_STATED = "not stated"  # the license of models whose cards have none
_TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class PublishedModel:
    """A row of the table. `speech` and `text` are language codes, or a number of languages."""

    name: str
    hub_id: str
    role: str
    model_type: str
    parameters: int
    download_gb: float
    speech: tuple[str, ...] | int
    text: tuple[str, ...] | int
    license: str
    system: str | None

    @property
    def forbids_commercial_use(self) -> bool:
        """Whether the license is one for non-commercial use only."""
        return "-NC" in self.license

    def translates(self, source: str | None, target: str) -> bool:
        """Return whether this model translates the language with code `source`, or any if it is None, into `target`."""
        if self.role != "translation" or isinstance(self.speech, int) or isinstance(self.text, int):
            return False
        return target in self.text and (source is None or source in self.speech)


@cache
def published_models() -> dict[str, PublishedModel]:
    """Return all models by short name, in the order of the table."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return {
            row["name"]: PublishedModel(
                name=row["name"],
                hub_id=row["hub_id"],
                role=row["role"],
                model_type=row["model_type"],
                parameters=int(row["parameters"]),
                download_gb=float(row["download_gb"]),
                speech=_languages(row["speech"]),
                text=_languages(row["text"]),
                license=row["license"],
                system=row["system"] or None,
            )
            for row in csv.DictReader(file)
        }


def hub_id(model: str) -> str:
    """Return the Hub id of a short name, with its @revision if there is one; other names unchanged."""
    name, at, revision = model.partition("@")
    known = published_models().get(name.lower())
    return model if known is None else f"{known.hub_id}{at}{revision}"


def find_published(model: str) -> PublishedModel | None:
    """Return the model with a short name or Hub id, of a folder named so, or of one in the Hub's cache."""
    name = model.removesuffix("/").partition("@")[0]
    parts = re.split(r"[/\\]", name.lower())
    for known in published_models().values():
        owner, repository = known.hub_id.lower().split("/")
        if parts[-1] in (repository, known.name) or f"models--{owner}--{repository}" in parts:
            return known
    return None


def similar_name(model: str) -> str | None:
    """Return the short name most similar to an unknown one, if any is."""
    return next(iter(get_close_matches(model.lower(), published_models(), n=1, cutoff=0.75)), None)


def _languages(cell: str) -> tuple[str, ...] | int:
    return int(cell) if cell.isdigit() else tuple(cell.split())
