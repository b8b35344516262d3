"""A bfloat16 copy of the model that computes losses and gradients for the float32 weights that are trained.

These master weights take steps that are too small for bfloat16 (Micikevicius et al. 2018, "Mixed Precision Training").
Checkpoints, validation and exported models have the master weights, and know nothing of the copy.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from voxlate.training.objective import Objective


class WorkingCopy:
    """The copy of an objective, as `objective`, and what both pass to each other in an update."""

    def __init__(self, masters: Objective) -> None:
        self.objective = copy_with(masters, lambda tensor: tensor.to(torch.bfloat16)).to(torch.bfloat16)
        pairs = zip(masters.parameters(), self.objective.parameters(), strict=True)
        self._pairs = [(master, copied) for master, copied in pairs if master.requires_grad]

    @torch.no_grad()
    def move_gradients(self) -> None:
        """Add the gradients of a batch to those of the master weights, in float32, and remove them from the copy."""
        for master, copied in self._pairs:
            if copied.grad is not None:
                gradient = copied.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                copied.grad = None

    @torch.no_grad()
    def round_weights(self) -> None:
        """Give the copy the present master weights, rounded."""
        for master, copied in self._pairs:
            copied.copy_(master)


def copy_with(objective: Objective, change: Callable[[Tensor], Tensor]) -> Objective:
    """Return a copy of an objective with changed parameters."""
    changed = {
        id(parameter): nn.Parameter(change(parameter.detach()), parameter.requires_grad)
        for parameter in objective.parameters()
    }
    return copy.deepcopy(objective, changed)
