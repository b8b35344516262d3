"""The most probable next ids of each hypothesis, without a table of all their probabilities.

Shape letters: R rows (hypotheses), D width, V vocabulary, B ids of a block, G groups, I ids of a group, N candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

_BLOCK = 16_384  # ids scored at once on a CPU: their scores stay in its cache
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
    forbidden_RV = None
    if vocabulary.allowed:
        forbidden_RV = ~torch.stack([vocabulary.allowed[tag_id] for tag_id in tag_ids])
    exact = weight_VD.dtype == torch.float32
    block = _BLOCK if weight_VD.device.type == "cpu" else len(weight_VD)
    rounded_RD = states_RD.to(weight_VD.dtype)
    normalisers, scores, ids = [], [], []
    for first in range(0, len(weight_VD), block):
        logits_RB = F.linear(rounded_RD, weight_VD[first : first + block]).float()
        if forbidden_RV is not None:
            logits_RB = logits_RB.masked_fill(forbidden_RV[:, first : first + block], -torch.inf)
        normalisers.append(logits_RB.logsumexp(1))
        best_RN, places_RN = _top(logits_RB, count if exact else 2 * count)
        scores.append(best_RN)
        ids.append(places_RN + first)
    normaliser_R1 = torch.stack(normalisers, 1).logsumexp(1)[:, None]
    scores_RN, ids_RN = torch.cat(scores, 1), torch.cat(ids, 1)
    if not exact:
        scores_RN, order_RN = scores_RN.topk(min(2 * count, len(weight_VD)), dim=1)
        ids_RN = ids_RN.gather(1, order_RN)
        found_RN = torch.einsum("rnd,rd->rn", weight_VD[ids_RN].float(), states_RD.float())
        found_RN = found_RN.where(scores_RN.isfinite(), scores_RN)
        change_R1 = ((found_RN - normaliser_R1).exp() - (scores_RN - normaliser_R1).exp()).sum(1, keepdim=True)
        normaliser_R1 = normaliser_R1 + change_R1.clamp(min=-0.5).log1p()
        scores_RN = found_RN
    scores_RN, order_RN = scores_RN.topk(min(count, len(weight_VD)), dim=1)
    ids_RN = ids_RN.gather(1, order_RN)
    return scores_RN - normaliser_R1, ids_RN if vocabulary.ids_V is None else vocabulary.ids_V[ids_RN]


def _top(scores_RB: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best scores of each row with their places. They lie in the groups whose best are best."""
    rows, size = scores_RB.shape
    if size < 2 * count * _GROUP:
        return scores_RB.topk(min(count, size), dim=1)
    groups_RGI = F.pad(scores_RB, (0, -size % _GROUP), value=-torch.inf).view(rows, -1, _GROUP)
    chosen_RN = groups_RGI.amax(2).topk(count, dim=1).indices
    some_RM = groups_RGI.gather(1, chosen_RN[:, :, None].expand(-1, -1, _GROUP)).view(rows, -1)
    best_RN, places_RN = some_RM.topk(count, dim=1)
    return best_RN, chosen_RN.gather(1, places_RN // _GROUP) * _GROUP + places_RN % _GROUP
