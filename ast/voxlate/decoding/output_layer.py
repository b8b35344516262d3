"""The top k of the output layer: the most probable next ids of each hypothesis, without a full softmax.

Shape letters: R rows (hypotheses), D width, V vocabulary, G groups of ids (in masks: language tags), M ids of the best
groups, N candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from voxlate.models.score_table import GROUP_IDS, OutputRows, ScoreTable


@dataclass(frozen=True)
class Vocabulary:
    """The ids that can be generated: rows of the output layer, their ids, and those allowed for each language tag.

    `ids_V` is None if the vocabulary is complete. `allowed_GV` has a boolean mask for each of the sorted language tags
    `tags_G`; both are None if all tags allow the same ids.
    """

    rows: OutputRows
    ids_V: Tensor | None = None
    tags_G: Tensor | None = None
    allowed_GV: Tensor | None = None

    def allowed(self, tags_R: Tensor | None) -> Tensor | None:
        """Return the mask of the ids that are allowed for the language tag of each row, (R, V); None if all are."""
        if self.tags_G is None or self.allowed_GV is None:
            return None
        assert tags_R is not None
        return self.allowed_GV[torch.searchsorted(self.tags_G, tags_R.contiguous())]


def shortlisted(rows: OutputRows, ids_by_tag: Mapping[int, Sequence[int]]) -> Vocabulary:
    """Return the vocabulary of all ids that are allowed for any of the language tags."""
    device = rows.weight_VD.device
    ids_V = torch.tensor(sorted(set().union(*ids_by_tag.values())), device=device)
    if len(ids_by_tag) == 1:
        return Vocabulary(rows.select(ids_V), ids_V)
    tags = sorted(ids_by_tag)
    allowed_GV = torch.stack([torch.isin(ids_V, torch.tensor([*ids_by_tag[tag]]).to(ids_V)) for tag in tags])
    return Vocabulary(rows.select(ids_V), ids_V, torch.tensor(tags, device=device), allowed_GV)


def top_k_ids(
    states_RD: Tensor, vocabulary: Vocabulary, count: int, tags_R: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities and ids of the `count` best next ids of each row, (R, N) both, best first.

    `tags_R` are the language tags of the rows. With weights of less than float32, twice as many candidates are
    rescored in float32, since rounded scores would tie.
    """
    weight_VD = vocabulary.rows.weight_VD
    exact = weight_VD.dtype == torch.float32
    count = min(count, len(weight_VD))
    allowed_RV = vocabulary.allowed(tags_R)
    candidates = min(count if exact else 2 * count, len(weight_VD))
    scores_RN, ids_RN, normalizer_R1 = _top(vocabulary.rows.score(states_RD), allowed_RV, candidates)
    if not exact:
        rounded_RN = scores_RN
        scores_RN = torch.einsum("rnd,rd->rn", weight_VD[ids_RN].float(), states_RD.float())
        scores_RN = scores_RN.where(rounded_RN.isfinite(), rounded_RN)
        change_R1 = ((scores_RN - normalizer_R1).exp() - (rounded_RN - normalizer_R1).exp()).sum(1, keepdim=True)
        normalizer_R1 = normalizer_R1 + change_R1.clamp(min=-0.5).log1p()
        scores_RN, order_RN = scores_RN.topk(count, dim=1)
        ids_RN = ids_RN.gather(1, order_RN)
    return scores_RN - normalizer_R1, ids_RN if vocabulary.ids_V is None else vocabulary.ids_V[ids_RN]


def _top(scores: ScoreTable, allowed_RV: Tensor | None, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the largest scores of each row, their columns, and the log of the sum of all exponentials, (R, 1).

    The global top k lie in the k groups with the largest maxima.
    """
    groups_RG, normalizer_R1 = scores.summary(allowed_RV)
    chosen_RN = groups_RG.topk(min(count, groups_RG.shape[1]), dim=1).indices
    columns_RM = (chosen_RN[:, :, None] * GROUP_IDS + torch.arange(GROUP_IDS, device=chosen_RN.device)).flatten(1)
    valid_RM = columns_RM < scores.size
    columns_RM = columns_RM.clamp(max=scores.size - 1)
    if allowed_RV is not None:
        valid_RM &= allowed_RV.gather(1, columns_RM)
    best_RN, order_RN = scores.gather(columns_RM).masked_fill_(~valid_RM, -torch.inf).topk(count, dim=1)
    return best_RN, columns_RM.gather(1, order_RN), normalizer_R1
