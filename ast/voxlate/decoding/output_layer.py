"""The most probable next ids of each hypothesis, without a table of all their probabilities.

Shape letters: R rows (hypotheses), D width, V vocabulary, B ids of a block, G groups of ids, M ids of the best groups,
N candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from voxlate.models.cpu.linears import rounded_rows

_BLOCK = 8_192  # on a CPU so many ids are scored at once: a hypothesis's scores of them stay in its cache
_GROUP = 64  # divides it


@dataclass(frozen=True)
class Vocabulary:
    """What can be said: rows of the output layer, their ids, and which of them each target language's tag allows.

    With all ids there are neither `ids_V` nor `allowed`, and with one language no `allowed`. `rounded` holds the rows
    as whole numbers of 8 bits and what these are multiples of, (V, 1): for a first look, at twice the speed.
    """

    weight_VD: Tensor
    ids_V: Tensor | None = None
    allowed: Mapping[int, Tensor] = field(default_factory=dict)
    rounded: tuple[Tensor, Tensor] | None = None

    def with_rounded(self) -> "Vocabulary":
        """Return the vocabulary with its rounded rows, where the weights are in bfloat16 on a CPU; else itself."""
        if self.weight_VD.device.type != "cpu" or self.weight_VD.dtype != torch.bfloat16:
            return self
        parts = [rounded_rows(part) for part in torch.split(self.weight_VD.detach(), _BLOCK)]
        rows, scales = zip(*parts, strict=True)
        return replace(self, rounded=(torch.cat(rows), torch.cat(scales)))


def shortlisted(weight_VD: Tensor, ids_by_tag: Mapping[int, Sequence[int]]) -> Vocabulary:
    """Return a vocabulary of only some ids for each tag."""
    union = sorted(set().union(*ids_by_tag.values()))
    ids_V = torch.tensor(union, device=weight_VD.device)
    allowed = {tag_id: torch.isin(ids_V, torch.tensor([*ids]).to(ids_V)) for tag_id, ids in ids_by_tag.items()}
    return Vocabulary(weight_VD[ids_V], ids_V, allowed if len(allowed) > 1 else {})


def top_k_ids(
    states_RD: Tensor, vocabulary: Vocabulary, count: int, tag_ids: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities and ids of the `count` best next ids of each row, (R, N) both, best first.

    `tag_ids` names each row's language. With weights of less than float32 the scores of twice as many are computed
    again in float32: rounded ones would tie.
    """
    weight_VD = vocabulary.weight_VD.detach()
    exact = weight_VD.dtype == torch.float32
    count = min(count, len(weight_VD))
    allowed_RV = torch.stack([vocabulary.allowed[tag_id] for tag_id in tag_ids]) if vocabulary.allowed else None
    found = min(count if exact else 2 * count, len(weight_VD))
    scores_RN, ids_RN, normaliser_R1 = _top(_Scores(states_RD, vocabulary), allowed_RV, found)
    if not exact:
        rounded_RN = scores_RN
        scores_RN = torch.einsum("rnd,rd->rn", weight_VD[ids_RN].float(), states_RD.float())
        scores_RN = scores_RN.where(rounded_RN.isfinite(), rounded_RN)
        change_R1 = ((scores_RN - normaliser_R1).exp() - (rounded_RN - normaliser_R1).exp()).sum(1, keepdim=True)
        normaliser_R1 = normaliser_R1 + change_R1.clamp(min=-0.5).log1p()
        scores_RN, order_RN = scores_RN.topk(count, dim=1)
        ids_RN = ids_RN.gather(1, order_RN)
    return scores_RN - normaliser_R1, ids_RN if vocabulary.ids_V is None else vocabulary.ids_V[ids_RN]


class _Scores:
    """Scores of all ids for some states, as products of matrices give them: block after block, each (R, B)."""

    def __init__(self, states_RD: Tensor, vocabulary: Vocabulary) -> None:
        self._weight_VD, self._scale_V1 = vocabulary.weight_VD.detach(), None
        self._rows_RD, dtype = states_RD.to(self._weight_VD.dtype), self._weight_VD.dtype
        if vocabulary.rounded is not None:
            self._weight_VD, self._scale_V1 = vocabulary.rounded
            (self._rows_RD, self._scale_R1), dtype = rounded_rows(states_RD), torch.int32
        self.rows, self.size, self.device = len(states_RD), len(self._weight_VD), states_RD.device
        self._together = _BLOCK if self.device.type == "cpu" else self.size
        self._table = torch.empty(self.rows * self.size, dtype=dtype, device=self.device)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the scores of some ids after the other in float32, (R, B)."""
        for first in range(0, self.size, self._together):
            weight_BD = self._weight_VD[first : first + self._together]
            table_RB = self._table[first * self.rows : (first + len(weight_BD)) * self.rows].view(self.rows, -1)
            multiply = torch.mm if self._scale_V1 is None else torch._int_mm
            multiply(self._rows_RD, weight_BD.T, out=table_RB)
            some, exact_RB = slice(first, first + len(weight_BD)), table_RB.float()
            if self._scale_V1 is not None:
                exact_RB.mul_(self._scale_V1[some, 0]).mul_(self._scale_R1)
            yield some, exact_RB

    def gather(self, ids_RM: Tensor) -> Tensor:
        """Return the scores of some ids of each row in float32, (R, M)."""
        first_RM = ids_RM // self._together * self._together
        width_RM = (self.size - first_RM).clamp(max=self._together)
        rows_R1 = torch.arange(self.rows, device=self.device)[:, None]
        scores_RM = self._table[first_RM * self.rows + rows_R1 * width_RM + ids_RM - first_RM].float()
        return scores_RM if self._scale_V1 is None else scores_RM * self._scale_V1[ids_RM, 0] * self._scale_R1


def _top(scores: _Scores, allowed_RV: Tensor | None, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best scores of each row with their places, and the logarithm of the sum of all exponentials, (R, 1).

    The best ones lie in the groups whose best ones are best.
    """
    normalisers, groups = [], []
    for some, exact_RB in scores.blocks():
        if allowed_RV is not None:
            exact_RB.masked_fill_(~allowed_RV[:, some], -torch.inf)
        missing = -exact_RB.shape[1] % _GROUP  # padding by nothing would be a copy
        filled_RB = F.pad(exact_RB, (0, missing), value=-torch.inf) if missing else exact_RB
        groups.append(filled_RB.view(scores.rows, -1, _GROUP).amax(2))
        largest_R1 = groups[-1].amax(1, keepdim=True)
        # The largest share is one by the sum of exponentials: softmax takes half the time of what returns that sum.
        shares_R1 = torch.softmax(exact_RB, 1).amax(1, keepdim=True)
        normalisers.append((largest_R1 - shares_R1.log_()).masked_fill_(largest_R1 == -torch.inf, -torch.inf))
    groups_RG = torch.cat(groups, 1)
    chosen_RN = groups_RG.topk(min(count, groups_RG.shape[1]), dim=1).indices
    places_RM = (chosen_RN[:, :, None] * _GROUP + torch.arange(_GROUP, device=chosen_RN.device)).flatten(1)
    inside_RM = places_RM < scores.size
    places_RM = places_RM.clamp(max=scores.size - 1)
    if allowed_RV is not None:
        inside_RM &= allowed_RV.gather(1, places_RM)
    best_RN, order_RN = scores.gather(places_RM).masked_fill_(~inside_RM, -torch.inf).topk(count, dim=1)
    return best_RN, places_RM.gather(1, order_RN), torch.cat(normalisers, 1).logsumexp(1, keepdim=True)
