"""Several processes: parameters sharded over them (FSDP), and weights brought back together.

accelerate starts and joins the processes and wraps the model for DDP. Sharding is torch's `fully_shard` itself, the
same on CPU and GPU: accelerate's FSDP falls back to DDP on CPU without a word.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.hardware import SMALL_BYTES, choose_device, choose_dtype
from voxlate.models.cpu.install import install_cpu_path
from voxlate.training.objective import Objective


def start_processes(config: TrainConfig) -> Accelerator:
    """Join the processes that accelerate launch or torchrun started. VoxlateError where they cannot share the work."""
    device = choose_device(config.device)
    if device.index is not None:
        torch.cuda.set_device(device)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no",  # whatever accelerate is configured for: `autocast` below does as the settings say
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise VoxlateError(
            f"accelerate is configured for {accelerator.distributed_type.value}; voxlate shards by itself: take plain "
            "multi-GPU in accelerate config, and set sharded=true"
        )
    processes, batches = accelerator.num_processes, config.data.batches_per_update
    if batches % processes:
        raise VoxlateError(
            f"data.batches_per_update is {batches}, expected a multiple of the {processes} processes; "
            f"take {-(-batches // processes) * processes}"
        )
    if config.sharded and processes == 1:
        raise VoxlateError("sharded needs several processes; start them with accelerate launch, or leave it out")
    return accelerator


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Return the context in which losses are computed: products in bfloat16 where the settings say so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=_dtype(config, device) == torch.bfloat16)


def _dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Return the precision of products. auto takes bfloat16 wherever the device has it: no model trains fast enough."""
    return choose_dtype(config.precision, device, SMALL_BYTES)


def distribute(objective: Objective, config: TrainConfig, accelerator: Accelerator) -> tuple[Any, Objective | None]:
    """Put the objective on its device; return it sharded, wrapped by DDP, or as it is, and see `gathered`."""
    objective.to(accelerator.device)
    if config.sharded:
        if _drops_layers(objective):
            raise VoxlateError(
                "the model's own config has layerdrop, which cannot be sharded: processes would skip different layers; "
                "set regularization.encoder_layerdrop and decoder_layerdrop to 0"
            )
        install_cpu_path(objective)
        skeleton = _skeleton(objective)
        shard(objective, dtype=_dtype(config, accelerator.device))
        return objective, skeleton
    install_cpu_path(objective)
    if accelerator.num_processes == 1:
        return objective, None
    staged = config.trainable.freeze_encoder_updates > 0 or config.loss.ctc_only_updates > 0
    # A backward pass may then miss parameters, and DDP has to look for them.
    accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=staged or _drops_layers(objective))
    return accelerator.prepare_model(objective), None


def _drops_layers(objective: Objective) -> bool:
    translator = objective.translator
    return bool(getattr(translator.encoder.config, "layerdrop", 0.0) or translator.decoder.config.layerdrop)


def shard(objective: Objective, *, dtype: torch.dtype) -> None:
    """Shard parameters, gradients and optimiser state layer by layer, in place (Zhao et al. 2023).

    Parameters are gathered in `dtype` for computing; gradients are summed and weights kept in float32.
    """
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    translator = objective.translator
    for layer in translator.encoder.model.encoder.layers:
        fully_shard(layer, mp_policy=policy)
    for layer in cast(
        "Any", translator.decoder.layers
    ):  # its keys and values of the speech are made outside of its forward pass
        fully_shard([layer.encoder_attn.k_proj, layer.encoder_attn.v_proj], mp_policy=policy)
        fully_shard(layer, mp_policy=policy)
    fully_shard(objective, mp_policy=policy)


@contextmanager
def gathered(objective: Objective, skeleton: Objective | None) -> Iterator[Objective]:
    """Give an objective that this process can call alone, as often as it likes; every process must ask for it.

    It is the objective itself where it is not sharded, else the skeleton with whole weights. (Calling the sharded one
    a different number of times in each process would leave them with different ideas of what to gather next.)
    """
    if skeleton is None:
        yield objective
        return
    skeleton.load_state_dict({name: whole(part.detach()) for name, part in objective.state_dict().items()}, assign=True)
    yield skeleton
    skeleton.to("meta")


def _skeleton(objective: Objective) -> Objective:
    """Return a copy without weights."""
    empty = {id(parameter): nn.Parameter(parameter.detach().to("meta")) for parameter in objective.parameters()}
    return copy.deepcopy(objective, empty)


def is_sharded(model: nn.Module) -> bool:
    """Return whether processes hold parts of the parameters."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor as it is without sharding; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_rows(tensor: Tensor) -> tuple[int, int]:
    """Return the first row that this process holds of a tensor, and the one after its last."""
    rows = tensor.shape[0] if tensor.ndim else 1
    if not isinstance(tensor, DTensor):
        return 0, rows
    assert tensor.placements == (Shard(0),)
    size = -(-rows // tensor.device_mesh.size())  # as torch.chunk cuts
    first = min(rows, tensor.device_mesh.get_local_rank() * size)
    return first, min(rows, first + size)


def local(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, rows: Tensor) -> Tensor:
    """Return this process's rows as a tensor that is sharded like another."""
    if not isinstance(tensor, DTensor):
        return rows
    return DTensor.from_local(rows, tensor.device_mesh, tensor.placements, shape=tensor.shape, stride=tensor.stride())
