"""The command ``voxlate languages``."""

from collections.abc import Sequence
from typing import Annotated

import typer

EXAMPLE = "voxlate languages lv Catalan"

_FIRST_TOKEN = 250_001  # of ar_AR, the first of mBART-50's tags
_TITLES = ("code", "name", "mBART-50 tag", "token", "published models from it", "published models into it")


def languages(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="LANGUAGE", help="Languages to show: codes, ISO 639-3 codes or English names."),
    ] = None,
) -> None:
    """List languages, their tokens and their published models."""
    from voxlate.languages import LANGUAGES, find_language

    codes = [find_language(name).code for name in names or ()] or [language.code for language in LANGUAGES]
    rows = [_TITLES, *map(_row, codes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(code: str) -> Sequence[str]:
    """Return the cells of a language. The names of published models lack their sizes: en-to-15."""
    from voxlate.languages import MBART50_TAGS, find_language
    from voxlate.published_checkpoints import PUBLISHED_TARGETS, published_sources
    from voxlate.published_models import published_models

    language = find_language(code)
    tag = language.mbart_tag
    token = str(_FIRST_TOKEN + MBART50_TAGS.index(tag)) if tag else "-"
    sources, targets = {}, {}
    for model, tokens in PUBLISHED_TARGETS.items():
        family = "-".join(model.split("-")[-3:])
        if code in published_sources(model):
            sources[family] = family
        if code in tokens:
            targets[family] = family if str(tokens[code]) == token else f"{family} (token {tokens[code]})"
    for known in published_models().values():  # of other families
        if known.role == "translation" and known.hub_id not in PUBLISHED_TARGETS:
            for found, codes in ((sources, known.speech), (targets, known.text)):
                if not isinstance(codes, int) and code in codes:
                    found[known.name] = known.name
    return (
        code,
        language.name,
        tag or "-",
        token,
        ", ".join(sources.values()) or "-",
        ", ".join(targets.values()) or "-",
    )
