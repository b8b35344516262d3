"""Use LoRA adapters of PEFT as models: find their base, and merge them into it in memory."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from voxlate.checkpoints.config_json import architectures
from voxlate.checkpoints.conversion import modern_names
from voxlate.checkpoints.hub import ADAPTER_CONFIG, find_model
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256
from voxlate.json_files import entry_exists, read_json, shown

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_FAMILIES, _KINDS = ("Wav2Vec2", "Hubert", "WavLM", "Wav2Vec2Bert"), ("ForCTC", "ForSequenceClassification", "Model")
_NETWORKS = (
    "SpeechEncoderDecoderModel",
    "MBartForConditionalGeneration",
    "M2M100ForConditionalGeneration",
    "SeamlessM4Tv2ForSpeechToText",
    *(family + kind for family in _FAMILIES for kind in _KINDS),
)


@dataclass(frozen=True)
class LoraAdapter:
    """The folder and the weights of an adapter, and the folder of its base model."""

    folder: Path
    weights: Path
    base: Path

    def recipe(self) -> dict[str, object]:
        """Return the recipe of results with the adapter, besides the weights of the base."""
        return {"adapter": str(self.folder), "adapter_sha256": file_sha256(self.weights), "base": str(self.base)}


def find_adapter(folder: Path) -> LoraAdapter | None:
    """Return the adapter in a folder, None for a model's folder. VoxlateError if its base is missing."""
    path = folder / ADAPTER_CONFIG
    if not entry_exists(path):
        return None
    name = read_json(path, "").get("base_model_name_or_path")
    weights = next((folder / file for file in _WEIGHTS if (folder / file).is_file()), None)
    if weights is None:
        raise VoxlateError(f"{folder}: is a LoRA adapter without weights; expected {' or '.join(_WEIGHTS)}")
    if any(entry_exists(folder / file) for file in ("model.safetensors", "pytorch_model.bin")):
        raise VoxlateError(f"{folder}: holds a model and a LoRA adapter; expected one of them; move the other away")
    if not isinstance(name, str) or not name:
        raise VoxlateError(f"{path}: base_model_name_or_path is {shown(name)}; expected the model it was trained on")
    relative = [parent / name for parent in (folder, folder.parent) if (parent / name).is_dir()]
    try:
        base = find_model(name if Path(name).is_dir() or not relative else relative[0])
    except VoxlateError as error:
        raise VoxlateError(
            f"{folder} is a LoRA adapter of {shown(name)}: {error}; or write the path of the base into "
            f"base_model_name_or_path of its {ADAPTER_CONFIG}"
        ) from None
    if entry_exists(base / ADAPTER_CONFIG):
        raise VoxlateError(f"{folder}: its base {base} is an adapter, too; merge that one into its model first")
    return LoraAdapter(folder, weights, base)


def base_folder(folder: Path) -> Path:
    """Return the folder with a model's config and vocabulary: the base of an adapter, or the folder itself."""
    adapter = find_adapter(folder)
    return folder if adapter is None else adapter.base


def merge_adapter(
    adapter: LoraAdapter, changes: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of a base with an adapter's weights (`changes`) merged, under transformers' names.

    VoxlateError if peft is not installed, or the adapter was trained on another model.
    """
    try:
        import peft  # noqa: PLC0415 (an extra of the package)
    except ImportError:
        raise VoxlateError(
            f"{adapter.folder} is a LoRA adapter of {adapter.base}, which needs peft: "
            "pip install 'voxlate[lora]', or merge it into its base with peft's merge_and_unload and save that"
        ) from None
    tensors = modern_names(tensors)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            network = _network(adapter.base, tensors)
            config = peft.PeftConfig.from_pretrained(str(adapter.folder))
            _check_ranks(adapter, config, changes)
            wrapped: Any = peft.PeftModel(network, config)
            # Prompt tuning, for example, changes inputs, not weights.
            if not hasattr(wrapped.base_model, "merge_and_unload"):
                kind = wrapped.peft_config["default"].peft_type.value
                raise VoxlateError(
                    f"{adapter.folder}: is a {kind} adapter; expected one that can be merged, such as LoRA"
                )
            _untie(wrapped)
            expected = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False).keys()
            complete = wrapped.state_dict().keys()  # PEFT saves unchanged embeddings with an adapter of embeddings
            differing = sorted((expected - changes.keys()) | (changes.keys() - expected - complete))
            if differing:
                raise VoxlateError(
                    f"{adapter.weights}: does not fit {adapter.base}, such as {shown(differing[0])}; expected the "
                    "adapter of this model"
                )
            peft.set_peft_model_state_dict(wrapped, dict(changes))
            state = wrapped.merge_and_unload().state_dict()
    except VoxlateError:
        raise
    except Exception as error:  # PEFT and torch raise various exceptions
        raise VoxlateError(
            f"{adapter.folder}: cannot be merged into its base {adapter.base} ({shown(error)})"
        ) from None
    return {**tensors, **{name: tensor.detach() for name, tensor in state.items() if not tensor.is_meta}}


def _check_ranks(adapter: LoraAdapter, config: Any, changes: Mapping[str, Tensor]) -> None:
    """VoxlateError if the config has a rank larger than any tensor of the adapter, which PEFT would allocate."""
    largest = max((size for tensor in changes.values() for size in tensor.shape), default=0)
    patterns = getattr(config, "rank_pattern", None)
    ranks = [getattr(config, name, 0) for name in ("r", "init_r")]
    ranks += patterns.values() if isinstance(patterns, dict) else []
    for rank in ranks:
        if isinstance(rank, int) and rank > largest:
            raise VoxlateError(
                f"{adapter.folder / ADAPTER_CONFIG}: asks for rank {shown(rank)}; expected at most {largest}, the "
                f"largest size in {adapter.weights.name}"
            )


def _untie(wrapped: nn.Module) -> None:
    """Untie the layers that an adapter changes, so that merging does not change the layers tied to them."""
    paths: dict[int, list[str]] = {}
    for path, parameter in wrapped.named_parameters(remove_duplicate=False):
        paths.setdefault(id(parameter), []).append(path)
    for path in (path for tied in paths.values() if len(tied) > 1 for path in tied if ".base_layer." in path):
        module, _, name = path.rpartition(".")
        layer = wrapped.get_submodule(module)
        setattr(layer, name, nn.Parameter(getattr(layer, name).clone(), requires_grad=False))


def _network(base: Path, tensors: Mapping[str, Tensor]) -> Any:
    """Return transformers' network of a folder with the given weights."""
    raw = read_json(base / "config.json", "expected the folder of the adapter's base")
    names = architectures(raw, base / "config.json")
    if not names or names[0] not in _NETWORKS:
        raise VoxlateError(
            f"{base / 'config.json'}: architectures is {shown(names)}; an adapter can be merged into one of "
            f"{', '.join(_NETWORKS)}"
        )
    network_class = getattr(transformers, names[0])
    with torch.device("meta"):
        network = network_class(network_class.config_class.from_dict(raw))
    network.load_state_dict(dict(tensors), strict=False, assign=True)
    network.tie_weights()
    return network.eval().requires_grad_(False)
