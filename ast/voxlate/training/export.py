"""From the state of training to an ordinary model folder."""

from collections.abc import Mapping
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor

from voxlate.checkpoints.ctc_files import write_ctc
from voxlate.checkpoints.model_folder import Checkpoint, save_checkpoint
from voxlate.config.schema import TrainConfig
from voxlate.training.distributed import whole
from voxlate.training.freezing import merge_lora
from voxlate.training.objective import Objective


def export(
    folder: Path,
    objective: Objective,
    checkpoint: Checkpoint,
    characters: Mapping[str, int],
    config: TrainConfig,
    accelerator: Accelerator,
) -> None:
    """Write the model as it is now, whole and with LoRA merged; every process must call it.

    Each file is replaced whole, the weights last, so that the folder holds a loadable model at any moment.
    """
    tensors = {name: whole(tensor.detach()).cpu() for name, tensor in objective.state_dict().items()}
    if accelerator.is_main_process:
        write_model(folder, plain_weights(tensors, config), checkpoint, characters)
    accelerator.wait_for_everyone()


def plain_weights(tensors: Mapping[str, Tensor], config: TrainConfig) -> dict[str, Tensor]:
    """Return the tensors of an objective with LoRA, if it has it, merged into the weights beside it."""
    return merge_lora(tensors, config.trainable.lora) if config.trainable.preset == "lora" else dict(tensors)


def write_model(
    folder: Path, tensors: Mapping[str, Tensor], checkpoint: Checkpoint, characters: Mapping[str, int]
) -> None:
    """Write the plain tensors of an objective as a model folder, its CTC head beside it."""
    if characters:
        write_ctc(folder, _below(tensors, "ctc."), characters)
    translator = _below(tensors, "translator.")
    save_checkpoint(
        folder, checkpoint.model, checkpoint.tokenizer, checkpoint.targets, translator, checkpoint.directions
    )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
