"""Old names of settings, which are still accepted with a warning."""

import logging
from collections.abc import Mapping
from typing import Any

from voxlate.config.yaml_settings import truncate
from voxlate.errors import VoxlateError

_LOG = logging.getLogger(__name__)

# Old name -> new name, nested like the settings; "*" stands for any key. The new names are those of transformers,
# fairseq (max_updates, lr_scheduler, sampling_temperature), whisper (beam_size), PEFT (target_modules) and PyTorch
# (num_workers).
RENAMED_KEYS: Mapping[str, Any] = {
    "output": "output_dir",
    "model": {
        "adapter_layers": "num_adapter_layers",
        "adapter_kernel": "adapter_kernel_size",
        "slots": "language_tokens",
        "add_languages": {"*": {"slot": "token"}},
    },
    "data": {"workers": "num_workers", "temperature": "sampling_temperature"},
    "trainable": {"lora": {"projections": "target_modules"}},
    "optimizer": {"updates": "max_updates", "schedule": "lr_scheduler"},
    "regularization": {
        "time_masking": "mask_time_prob",
        "time_mask_frames": "mask_time_length",
        "channel_masking": "mask_feature_prob",
        "channel_mask_width": "mask_feature_length",
    },
    "validation": {"beam": "beam_size"},
}


def rename_keys(settings: Mapping[str, Any], source: str | None) -> dict[str, Any]:
    """Return settings with old keys replaced by new ones.

    Log one deprecation warning for each old key, which names `source`, the file or override it comes from; None logs
    nothing. VoxlateError if a key is given under both names.
    """
    replaced: dict[str, str] = {}
    renamed = _rename(settings, RENAMED_KEYS, "", replaced)
    if source is not None:
        for old, new in replaced.items():
            _LOG.warning("%s: %s is deprecated; use %s", source, old, new)
    return renamed


def old_names(location: tuple[int | str, ...]) -> dict[str, str]:
    """Return the old names of the settings in a section, such as ("optimizer",), with their new names."""
    table: Mapping[str, Any] = RENAMED_KEYS
    for part in location:
        table = table.get(str(part), table.get("*", {}))
    return {old: new for old, new in table.items() if isinstance(new, str)}


def _rename(
    settings: Mapping[str, Any], table: Mapping[str, Any], prefix: str, replaced: dict[str, str]
) -> dict[str, Any]:
    """Return renamed settings; add the dotted name of each replaced key, with its new one, to `replaced`."""
    renamed: dict[str, Any] = {}
    for key, value in settings.items():
        entry = table.get(key, table.get("*"))
        if isinstance(entry, str):
            old, new = f"{prefix}{key}", f"{prefix}{entry}"
            if entry in settings:
                raise VoxlateError(f"{old} and {new} are the same setting; keep {new}")
            replaced[old] = new
            renamed[entry] = value
        elif isinstance(entry, Mapping) and isinstance(value, Mapping):
            renamed[key] = _rename(value, entry, f"{prefix}{truncate(str(key))}.", replaced)
        else:
            renamed[key] = value
    return renamed
