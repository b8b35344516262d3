"""The most probable next ids of each hypothesis, without a table of all their probabilities.

Shape letters: R rows (hypotheses), D width, V vocabulary, B ids of a block, G groups of ids, M ids of the best groups,
N candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

_BLOCK = 2_048  # ids looked at in float32 at once on a CPU: they stay in its cache; a multiple of the group
_GROUP = 64


@dataclass(frozen=True)
class Vocabulary:
    """What can be said: rows of the output layer, their ids, and which of them each target language's tag allows.

    With all ids there are neither `ids_V` nor `allowed`, and with one language no `allowed`.
    """

    weight_VD: Tensor
    ids_V: Tensor | None = None
    allowed: Mapping[int, Tensor] = field(default_factory=dict)


def shortlisted(weight_VD: Tensor, ids_by_tag: Mapping[int, Sequence[int]]) -> Vocabulary:
    """Return a vocabulary of only some ids for each tag."""
    union = sorted(set().union(*ids_by_tag.values()))
    ids_V = torch.tensor(union, device=weight_VD.device)
    allowed = {tag_id: torch.isin(ids_V, torch.tensor([*ids]).to(ids_V)) for tag_id, ids in ids_by_tag.items()}
    return Vocabulary(weight_VD[ids_V], ids_V, allowed if len(allowed) > 1 else {})


def best_ids(
    states_RD: Tensor, vocabulary: Vocabulary, count: int, tag_ids: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities and ids of the `count` best next ids of each row, (R, N) both, best first.

    `tag_ids` names each row's language. With weights of less than float32 the scores of twice as many are computed
    again in float32: rounded ones would tie.
    """
    weight_VD = vocabulary.weight_VD
    exact = weight_VD.dtype == torch.float32
    count = min(count, len(weight_VD))
    logits_RV = F.linear(states_RD.to(weight_VD.dtype), weight_VD)
    if vocabulary.allowed:
        logits_RV.masked_fill_(~torch.stack([vocabulary.allowed[tag_id] for tag_id in tag_ids]), -torch.inf)
    scores_RN, ids_RN, normaliser_R1 = _top(logits_RV, min(count if exact else 2 * count, len(weight_VD)))
    if not exact:
        rounded_RN = scores_RN
        scores_RN = torch.einsum("rnd,rd->rn", weight_VD[ids_RN].float(), states_RD.float())
        scores_RN = scores_RN.where(rounded_RN.isfinite(), rounded_RN)
        change_R1 = ((scores_RN - normaliser_R1).exp() - (rounded_RN - normaliser_R1).exp()).sum(1, keepdim=True)
        normaliser_R1 = normaliser_R1 + change_R1.clamp(min=-0.5).log1p()
        scores_RN, order_RN = scores_RN.topk(count, dim=1)
        ids_RN = ids_RN.gather(1, order_RN)
    return scores_RN - normaliser_R1, ids_RN if vocabulary.ids_V is None else vocabulary.ids_V[ids_RN]


def _top(logits_RV: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best logits of each row with their places, and the logarithm of the sum of all exponentials, (R, 1).

    The best ones lie in the groups whose best ones are best.
    """
    size = logits_RV.shape[1]
    block = _BLOCK if logits_RV.device.type == "cpu" else size
    normalisers, groups = [], []
    for first in range(0, size, block):
        block_RB = logits_RV[:, first : first + block].float()
        normalisers.append(block_RB.logsumexp(1))
        filled_RB = F.pad(block_RB, (0, -block_RB.shape[1] % _GROUP), value=-torch.inf)
        groups.append(filled_RB.view(len(filled_RB), -1, _GROUP).amax(2))
    groups_RG = torch.cat(groups, 1)
    chosen_RN = groups_RG.topk(min(count, groups_RG.shape[1]), dim=1).indices
    places_RM = (chosen_RN[:, :, None] * _GROUP + torch.arange(_GROUP, device=chosen_RN.device)).flatten(1)
    some_RM = logits_RV.gather(1, places_RM.clamp(max=size - 1)).float().masked_fill(places_RM >= size, -torch.inf)
    best_RN, order_RN = some_RM.topk(count, dim=1)
    return best_RN, places_RM.gather(1, order_RN), torch.stack(normalisers, 1).logsumexp(1)[:, None]
