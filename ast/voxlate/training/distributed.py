"""Training on several processes: DDP by accelerate, or parameters sharded with FSDP.

Sharding uses torch's `fully_shard` directly, the same way on CPU and GPU: accelerate's FSDP silently falls back to DDP
on CPU.
"""

import os
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
from voxlate.models.fast_path import install_fast_path
from voxlate.models.gpu.gpu_path import compile_encoders
from voxlate.training.objective import Objective
from voxlate.training.working_copy import WorkingCopy, copy_with

_MAX_WORKERS = 8  # decode more FLAC than an H100 has been seen to train on


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Join the processes started by accelerate launch or torchrun. VoxlateError if the settings do not suit them."""
    device = choose_device(config.device)
    if device.index is not None:
        torch.cuda.set_device(device)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no",  # `autocast` below follows our settings, not accelerate's configuration
    )
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise VoxlateError(
            f"accelerate is configured for {accelerator.distributed_type.value}, but voxlate does its own sharding: "
            "choose plain multi-GPU in accelerate config, and set sharded=true"
        )
    if accelerator.device.type != device.type:
        raise VoxlateError(
            f"device is {config.device}, but accelerate uses {accelerator.device.type} here; set device to auto or cpu"
        )
    processes, batches = accelerator.num_processes, config.data.batches_per_update
    if batches % processes:
        raise VoxlateError(
            f"data.batches_per_update is {batches}, expected a multiple of the {processes} processes; "
            f"use {-(-batches // processes) * processes}"
        )
    if config.sharded and processes == 1:
        raise VoxlateError("sharded needs several processes; start them with accelerate launch, or set sharded=false")
    return accelerator


def make_host_group(accelerator: Accelerator) -> Any:
    """Return a process group for sums on the host, which do not wait for a GPU; None stands for the default group."""
    if accelerator.num_processes == 1 or accelerator.device.type == "cpu":
        return None
    return torch.distributed.new_group(backend="gloo")


def data_workers(config: TrainConfig, accelerator: Accelerator) -> int:
    """Return the number of worker processes that prepare the batches of this process.

    By default one for a CPU, which needs its cores for the model; for a GPU this process's share of the cores, up to 8.
    """
    if config.data.num_workers is not None:
        return config.data.num_workers
    if accelerator.device.type == "cpu":
        return 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))  # of this machine
    return max(1, min(_MAX_WORKERS, (os.cpu_count() or 1) // processes))


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Return the autocast context for computing losses with float32 weights; it is disabled in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=_dtype(config, device) == torch.bfloat16)


def _dtype(config: TrainConfig, device: torch.device) -> torch.dtype:
    """Return the dtype of matrix products. "auto" is bfloat16 wherever the device has it, regardless of model size."""
    return choose_dtype(config.precision.removesuffix("-weights"), device, SMALL_BYTES)


def distribute(
    objective: Objective, config: TrainConfig, accelerator: Accelerator
) -> tuple[Any, Objective | None, WorkingCopy | None]:
    """Move the objective to its device; return it sharded, wrapped by DDP, or unchanged.

    The second value is a copy without weights for `gathered_objective` if the objective is sharded, otherwise None. The
    third is the copy that is wrapped instead of the objective if that is set. (Sharding makes one by itself, layer by
    layer.)
    """
    if config.sharded and _uses_layerdrop(objective):
        raise VoxlateError(
            "the model's own config has layerdrop, which cannot be sharded: processes would skip different layers; "
            "set regularization.encoder_layerdrop and decoder_layerdrop to 0"
        )
    objective.to(accelerator.device)
    install_fast_path(objective)
    working_copy = WorkingCopy(objective) if config.has_working_copy else None
    computing = objective if working_copy is None else working_copy.objective
    if config.compile_encoder:
        compile_encoders(computing)
    if config.sharded:
        skeleton = copy_with(objective, lambda tensor: tensor.to("meta"))
        shard(objective, dtype=_dtype(config, accelerator.device))
        return objective, skeleton, None
    if accelerator.num_processes == 1:
        return computing, None, working_copy
    # In these cases some parameters get no gradient in some updates.
    staged = config.trainable.freeze_encoder_updates > 0 or config.loss.ctc_only_updates > 0
    accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=staged or _uses_layerdrop(objective))
    return accelerator.prepare_model(computing), None, working_copy


def _uses_layerdrop(objective: Objective) -> bool:
    """Return whether the encoder or decoder skips random layers in training."""
    translator = objective.translator
    return bool(getattr(translator.encoder.config, "layerdrop", 0.0) or translator.decoder.config.layerdrop)


def shard(objective: Objective, *, dtype: torch.dtype) -> None:
    """Shard parameters, gradients and optimizer state layer by layer, in place (Zhao et al. 2023).

    Parameters are gathered in `dtype` for computing; weights and the reduction of gradients stay in float32.
    """
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    translator = objective.translator
    for layer in translator.encoder.model.encoder.layers:
        fully_shard(layer, mp_policy=policy)
    for layer in cast("Any", translator.decoder.layers):
        # The cross-attention cache is computed outside of the layer's forward pass.
        fully_shard([layer.encoder_attn.k_proj, layer.encoder_attn.v_proj], mp_policy=policy)
        fully_shard(layer, mp_policy=policy)
    fully_shard(objective, mp_policy=policy)


@contextmanager
def gathered_objective(objective: Objective, skeleton: Objective | None) -> Iterator[Objective]:
    """Yield an objective that each process can call independently; every process must enter the context.

    It is the objective itself or, if that is sharded, the skeleton with the full weights: calls of a sharded module are
    collective, and would deadlock if processes made different numbers of them.
    """
    if skeleton is None:
        yield objective
        return
    skeleton.load_state_dict(
        {name: full_tensor(part.detach()) for name, part in objective.state_dict().items()}, assign=True
    )
    yield skeleton
    skeleton.to("meta")


def is_sharded(model: nn.Module) -> bool:
    """Return whether the parameters of a model are sharded."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor without sharding; every process must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_rows(tensor: Tensor) -> tuple[int, int]:
    """Return the range (first, end) of rows of a tensor that this process holds."""
    rows = tensor.shape[0] if tensor.ndim else 1
    if not isinstance(tensor, DTensor):
        return 0, rows
    assert tensor.placements == (Shard(0),)
    size = -(-rows // tensor.device_mesh.size())  # as torch.chunk splits
    first = min(rows, tensor.device_mesh.get_local_rank() * size)
    return first, min(rows, first + size)


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, rows: Tensor) -> Tensor:
    """Return this process's rows as a tensor that is sharded like `tensor`."""
    if not isinstance(tensor, DTensor):
        return rows
    return DTensor.from_local(rows, tensor.device_mesh, tensor.placements, shape=tensor.shape, stride=tensor.stride())
