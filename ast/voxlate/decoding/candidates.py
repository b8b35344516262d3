"""The most probable next ids of each hypothesis, without a table of all their probabilities.

Shape letters: R rows (hypotheses), D width, V vocabulary, B ids of a block, G blocks' groups, N candidates.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

_BLOCK = 16_384  # ids scored at once on a CPU: their scores stay in its cache
_GROUP = 64


def best_ids(states_RD: Tensor, weight_VD: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities and ids of the `count` best next ids of each row, (R, N) both, best first."""
    block = _BLOCK if weight_VD.device.type == "cpu" else len(weight_VD)
    normalisers, scores, ids = [], [], []
    for first in range(0, len(weight_VD), block):
        logits_RB = F.linear(states_RD, weight_VD[first : first + block]).float()
        normalisers.append(logits_RB.logsumexp(1))
        scores_RN, ids_RN = _top(logits_RB, count)
        scores.append(scores_RN)
        ids.append(ids_RN + first)
    scores_RN, order_RN = torch.cat(scores, 1).topk(min(count, len(weight_VD)), dim=1)
    return scores_RN - torch.stack(normalisers, 1).logsumexp(1)[:, None], torch.cat(ids, 1).gather(1, order_RN)


def _top(scores_RB: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best scores of each row with their places. They lie in the groups whose best are best."""
    rows, size = scores_RB.shape
    if size < 2 * count * _GROUP:
        return scores_RB.topk(min(count, size), dim=1)
    filled_RB = F.pad(scores_RB, (0, -size % _GROUP), value=-torch.inf)
    groups_RGI = filled_RB.view(rows, -1, _GROUP)
    chosen_RN = groups_RGI.amax(2).topk(count, dim=1).indices
    some_RM = groups_RGI.gather(1, chosen_RN[:, :, None].expand(-1, -1, _GROUP)).view(rows, -1)
    best_RN, places_RN = some_RM.topk(count, dim=1)
    return best_RN, chosen_RN.gather(1, places_RN // _GROUP) * _GROUP + places_RN % _GROUP
