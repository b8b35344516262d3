"""The CTC head, which scores the characters of the source text at every encoder frame, and its loss.

Shape letters: B utterances, S encoder frames, D width, V labels, L source characters.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.encoder import on_device


class CtcHead(nn.Module):
    """Scores of source characters at every encoder frame, for an auxiliary CTC loss (Graves et al. 2006).

    Label 0 is the blank; characters begin at 1.
    """

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, labels)

    def forward(self, states_BSD: Tensor, lengths_B: Tensor, labels_BL: Tensor, label_lengths_B: Tensor) -> Tensor:
        """Return the sum of the CTC losses of the utterances that have labels and enough frames for them.

        Lengths and labels are on the host, which torch's CTC loss reads the lengths on.
        """
        repeats_B = ((labels_BL[:, 1:] == labels_BL[:, :-1]) & (labels_BL[:, 1:] > 0)).sum(dim=1)
        usable_B = (label_lengths_B > 0) & (label_lengths_B + repeats_B <= lengths_B)
        log_probs_BSV = F.log_softmax(self.projection(states_BSD).float(), dim=-1)
        losses_B = F.ctc_loss(
            log_probs_BSV.transpose(0, 1),
            on_device(labels_BL, states_BSD.device),
            lengths_B,
            label_lengths_B * usable_B,
            reduction="none",
            zero_infinity=True,
        )
        return (losses_B * on_device(usable_B, states_BSD.device)).sum()
