"""The search settings in the generation_config.json of a model folder."""

import json
import logging
from pathlib import Path
from typing import Any

from voxlate.errors import VoxlateError
from voxlate.files import write_text
from voxlate.search_options import SearchSettings

FILE = "generation_config.json"
# Settings that change transformers' results and that our search does not support, with their neutral values.
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "do_sample": (False,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "num_beam_groups": (1,),
    "bad_words_ids": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "sequence_bias": ({}, []),
    "exponential_decay_length_penalty": (),
    "guidance_scale": (1,),
}
_LOG = logging.getLogger(__name__)


def read_search_defaults(folder: Path) -> dict[str, Any]:
    """Return the fields of `SearchSettings` in a model folder's generation_config.json, {} if it is missing.

    `max_new_tokens`, which does not count the start token, takes precedence over `max_length`, as in transformers.
    VoxlateError names the file and a value of the wrong type or out of range; settings that our search does not support
    are logged.
    """
    path = folder / FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise VoxlateError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise VoxlateError(
            f"{path}: not JSON ({str(error)[:200]}); correct it, or delete it to search as published"
        ) from None
    if not isinstance(raw, dict):
        raise VoxlateError(f"{path}: expected a JSON object, got {type(raw).__name__}")
    raw = {name: value for name, value in raw.items() if value is not None}
    defaults: dict[str, Any] = {}
    for name, field, kinds, expected in (
        ("num_beams", "beam_size", (int,), "a whole number"),
        ("length_penalty", "length_penalty", (int, float), "a number"),
        ("max_length", "max_length", (int,), "a whole number"),
        ("max_new_tokens", "max_length", (int,), "a whole number"),
        ("early_stopping", "early_stopping", (bool,), 'true, false or "never"'),
    ):
        if name not in raw:
            continue
        value = raw[name]
        is_never = name == "early_stopping" and value == "never"
        if type(value) not in kinds and not is_never:  # not isinstance: bool is a subclass of int
            raise VoxlateError(f"{path}: {name} is {_shown(value)}, expected {expected}; correct or remove it")
        defaults[field] = value + 1 if name == "max_new_tokens" else value
        try:
            SearchSettings(**{field: defaults[field]})
        except VoxlateError as error:
            raise VoxlateError(f"{path}: {name} is {_shown(value)}: {error}; correct or remove it") from None
    ignored = [
        f"{name} {_shown(raw[name])}" for name, neutral in _UNSUPPORTED.items() if raw.get(name) not in (None, *neutral)
    ]
    if ignored:
        _LOG.warning("%s sets %s, which this search does not support", path, ", ".join(ignored))
    return defaults


def copy_search_defaults(source: Path, output: Path) -> None:
    """Copy the search settings of a model folder, if there are any, to a folder derived from it."""
    defaults = read_search_defaults(source)
    names = {"beam_size": "num_beams"}
    if defaults:
        raw = json.loads((output / FILE).read_text(encoding="utf-8"))
        raw |= {names.get(field, field): value for field, value in defaults.items()}
        write_text(output / FILE, json.dumps(raw, indent=2) + "\n")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}…"
