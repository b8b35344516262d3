"""The top k of the output layer equal those of the full softmax, also within shortlists of languages."""

import pytest
import torch

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.output_layer import Vocabulary, shortlisted, top_k_ids
from voxlate.decoding.search import Search
from voxlate.models.cpu.int8_scores import Int8OutputRows
from voxlate.models.score_table import OutputRows
from voxlate.search_options import SearchOptions
from voxlate.tokenizer import EOS_ID

TAGS = (52, 53)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_top_k_are_those_of_the_full_softmax(dtype: torch.dtype) -> None:
    """With 40,000 ids, in several blocks and groups; with rounded scores, and with masks of two languages."""
    torch.manual_seed(0)
    states_RD, weight_VD = torch.randn(6, 32), torch.randn(40_000, 32).to(dtype)
    log_probs_RV = (states_RD.double() @ weight_VD.double().T).log_softmax(1)
    expected = log_probs_RV.topk(10, dim=1)
    log_probs_RN, ids_RN = top_k_ids(states_RD, Vocabulary(OutputRows(weight_VD)), 10)
    torch.testing.assert_close(
        log_probs_RN, expected.values.float(), atol=1e-4 if dtype == torch.float32 else 5e-3, rtol=0
    )
    assert torch.equal(ids_RN, expected.indices)

    parts = {52: [*range(2, 39_000, 3)], 53: [*range(2, 40_000, 7)]}
    tag_ids = [52, 53, 52, 52, 53, 53]
    log_probs_RN, ids_RN = top_k_ids(states_RD, shortlisted(OutputRows(weight_VD), parts), 10, torch.tensor(tag_ids))
    for row, tag_id in enumerate(tag_ids):
        part = torch.tensor(parts[tag_id])
        logits_V = states_RD[row].double() @ weight_VD[part].double().T
        values, places = logits_V.log_softmax(0).topk(10)
        torch.testing.assert_close(
            log_probs_RN[row], values.float(), atol=1e-4 if dtype == torch.float32 else 5e-3, rtol=0
        )
        assert torch.equal(ids_RN[row], part[places])


def test_int8_scores_find_the_same_candidates_as_bfloat16() -> None:
    torch.manual_seed(0)
    states_RD, weight_VD = torch.randn(6, 64), torch.randn(40_000, 64).bfloat16()
    expected = (states_RD.double() @ weight_VD.double().T).log_softmax(1).topk(10, dim=1)
    log_probs_RN, ids_RN = top_k_ids(states_RD, Vocabulary(Int8OutputRows(weight_VD)), 10)
    assert torch.equal(ids_RN, expected.indices)  # scored again in float32, as bfloat16 ones are
    torch.testing.assert_close(log_probs_RN, expected.values.float(), atol=5e-3, rtol=0)
    parts = {52: [*range(2, 39_000, 3)], 53: [*range(2, 40_000, 7)]}
    quantized, plain = (
        top_k_ids(states_RD, shortlisted(rows(weight_VD), parts), 10, torch.tensor([52, 53, 52, 52, 53, 53]))
        for rows in (Int8OutputRows, OutputRows)
    )
    assert torch.equal(quantized[1], plain[1])


def test_a_vocabulary_may_be_smaller_than_k() -> None:
    log_probs_RN, ids_RN = top_k_ids(torch.randn(2, 8), Vocabulary(OutputRows(torch.randn(5, 8))), 10)
    assert log_probs_RN.shape == ids_RN.shape == (2, 5)
    assert sorted(ids_RN[0].tolist()) == [0, 1, 2, 3, 4]


@torch.inference_mode()
@pytest.mark.parametrize("beam", [1, 5])
def test_each_utterance_uses_only_the_shortlist_of_its_language(beam: int) -> None:
    """Batches of mixed languages give the results of each language alone; a shortlist of all ids changes nothing."""
    decoder = ours(transformers_model(4)).decoder
    model = ours(transformers_model(4))
    size = len(decoder.output_weight)
    clips = waveforms(2, 0.4, 2.0, 1.1, 0.7)
    tag_ids = [TAGS[index % 2] for index in range(4)]
    options = SearchOptions(beam_size=beam, max_length=20, n_best=beam)
    memory = model.cross_attention_cache(*collate_waveforms(clips, normalize=True))

    def found(vocabulary: Vocabulary | None, indices: list[int]) -> dict[int, list[tuple[int, ...]]]:
        pool = Search(model.decoder, options, vocabulary)
        pool.add(indices, memory.select(torch.tensor(indices), memory.states), [tag_ids[index] for index in indices])
        results: dict[int, list[tuple[int, ...]]] = {}
        while len(results) < len(indices):
            results |= {key: [one.ids for one in hypotheses] for key, hypotheses in pool.step()}
        return results

    parts = {TAGS[0]: [EOS_ID, *range(3, 30)], TAGS[1]: [EOS_ID, *range(20, 50)]}
    together = found(shortlisted(decoder.output_rows(), parts), [0, 1, 2, 3])
    for index, hypotheses in together.items():
        assert {token for ids in hypotheses for token in ids[1:]} <= {*parts[tag_ids[index]]}
        alone = found(shortlisted(decoder.output_rows(), {tag_ids[index]: parts[tag_ids[index]]}), [index])
        assert alone[index] == hypotheses
    everything = {tag_id: [*range(size)] for tag_id in TAGS}
    assert found(shortlisted(decoder.output_rows(), everything), [0, 1, 2, 3]) == found(None, [0, 1, 2, 3])
    assert together != found(None, [0, 1, 2, 3])
