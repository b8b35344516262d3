"""Export of the model in training as an ordinary model folder."""

from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from voxlate.checkpoints.ctc_files import write_ctc
from voxlate.checkpoints.model_folder import Checkpoint, save_checkpoint
from voxlate.config.schema import TrainConfig
from voxlate.training.distributed import full_tensor
from voxlate.training.freezing import merge_lora
from voxlate.training.objective import Objective


def export_model(
    folder: Path,
    objective: Objective,
    checkpoint: Checkpoint,
    characters: Mapping[str, int],
    config: TrainConfig,
    accelerator: Accelerator,
) -> None:
    """Write the current model, unsharded and with LoRA merged; every process must call it.

    Files are replaced atomically, the weights last, so that the folder holds a loadable model at any time.
    """
    tensors = {name: full_tensor(tensor.detach()).cpu() for name, tensor in objective.state_dict().items()}
    if accelerator.is_main_process:
        write_model(folder, merged_weights(tensors, config), checkpoint, characters)
    accelerator.wait_for_everyone()


def merged_weights(tensors: Mapping[str, Tensor], config: TrainConfig) -> dict[str, Tensor]:
    """Return the tensors of an objective; if they have LoRA weights, those are merged into the base weights."""
    return merge_lora(tensors, config.trainable.lora) if config.trainable.preset == "lora" else dict(tensors)


def write_model(
    folder: Path, tensors: Mapping[str, Tensor], checkpoint: Checkpoint, characters: Mapping[str, int]
) -> None:
    """Write the merged tensors of an objective as a model folder, including the CTC head if there are characters."""
    if characters:
        write_ctc(folder, _with_prefix(tensors, "ctc."), characters)
    translator = _with_prefix(tensors, "translator.")
    save_checkpoint(
        folder,
        checkpoint.model,
        checkpoint.tokenizer,
        checkpoint.targets,
        translator,
        checkpoint.directions,
        checkpoint.statistics,
    )


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
