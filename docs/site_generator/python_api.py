"""The reference page of the Python API: the public names of voxlate, which mkdocstrings documents."""

import voxlate

# Classes whose instances the public functions return or take.
_RELATED = (
    "voxlate.decoding.results.Candidate",
    "voxlate.decoding.results.Word",
    "voxlate.decoding.results.LeftOut",
    "voxlate.manifest.utterance.Utterance",
)
_INTRODUCTION = """\
# Python

All names of this page can be imported from `voxlate`, except those of the last section. Importing `voxlate` does not
import torch: a name is loaded when it is first used. [Translating](../translating.md#python) has examples.
"""


def python_page() -> str:
    """Return the page in Markdown, with a directive for each public name."""
    names = [name for name in sorted(voxlate.__all__, key=_order) if not name.startswith("__")]
    public = [f"::: voxlate.{name}\n" for name in names]
    related = [f"::: {name}\n    options:\n      heading_level: 3\n" for name in _RELATED]
    return "\n".join([_INTRODUCTION, *public, "## Classes of results and manifests\n", *related])


def _order(name: str) -> tuple[bool, bool, str]:
    """Sort the translator first, and classes before functions."""
    return name != "Translator", name[0].islower(), name
