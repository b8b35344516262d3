"""Changes to the files of a model folder."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def retouch(folder: Path, change: Any, *, as_bin: bool = False) -> None:
    """Rewrite the weights of a folder, as a ``.bin`` if asked."""
    tensors = change(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    if as_bin:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **fields: object) -> None:
    """Override fields of a config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
