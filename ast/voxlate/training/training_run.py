"""The objects of a run that the functions of the training loop share."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from voxlate.checkpoints.model_folder import Checkpoint
from voxlate.config.schema import TrainConfig
from voxlate.data.batch_sampler import BatchSampler
from voxlate.data.batching import BatchMaker
from voxlate.training.objective import Objective
from voxlate.training.run_log import RunLog
from voxlate.training.working_copy import WorkingCopy


@dataclass(frozen=True)
class TrainingRun:
    """The objects of a run. Only weights and optimizer state change; other mutable state is in `TrainingState`."""

    config: TrainConfig
    accelerator: Accelerator
    checkpoint: Checkpoint  # the model with its tokenizer and target languages
    objective: Objective
    wrapped: Any  # the objective as it is called in training: itself or its working copy, or wrapped by DDP
    skeleton: Objective | None  # see `gathered_objective`
    working_copy: WorkingCopy | None
    optimizer: torch.optim.Optimizer
    batch_sampler: BatchSampler
    batch_maker: BatchMaker
    dev_batch_maker: BatchMaker | None
    log: RunLog
    host_group: Any = None  # see `make_host_group`
