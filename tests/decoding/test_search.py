"""Search: the hypotheses of transformers' `generate`, independence of utterances, the repetition guard."""

from typing import Any

import pytest
import torch

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.search import Hypothesis, search
from voxlate.errors import VoxlateError
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.search_options import SearchOptions, SearchSettings

TAG = 52


def found(model: SpeechTranslator, clips: list[torch.Tensor], options: SearchOptions) -> list[list[Hypothesis]]:
    memory = model.cross_attention_cache(*collate_waveforms(clips, normalize=True))
    return search(model.decoder, memory, [TAG + index % 2 for index in range(len(clips))], options)


def generated(theirs: Any, clip: torch.Tensor, tag: int, **settings: Any) -> tuple[list[list[int]], list[float] | None]:
    """Return the ids of transformers' hypotheses, without start token and padding, and their scores."""
    waveform_BT, _ = collate_waveforms([clip], normalize=True)
    output = theirs.generate(
        input_values=waveform_BT,
        attention_mask=torch.ones_like(waveform_BT).long(),
        forced_bos_token_id=tag,
        return_dict_in_generate=True,
        output_scores=True,
        **settings,
    )
    ids = [[index for index in row[1:] if index != 1] for row in output.sequences.tolist()]
    return ids, output.sequences_scores.tolist() if settings["num_beams"] > 1 else None


SETTINGS = [
    SearchSettings(beam_size=1, max_length=24, max_repeats=None),
    SearchSettings(beam_size=5, max_length=24, n_best=5, max_repeats=None),
    SearchSettings(beam_size=5, max_length=24, n_best=5, early_stopping=False, max_repeats=None),
    SearchSettings(beam_size=3, max_length=16, n_best=3, length_penalty=0.3, max_repeats=None),
    SearchSettings(beam_size=4, max_length=20, n_best=2, length_penalty=2.0, early_stopping=False, max_repeats=None),
]
NEVER = SearchSettings(beam_size=3, max_length=14, n_best=3, early_stopping="never", max_repeats=None)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_hypotheses_match_transformers(options: SearchSettings) -> None:
    """Twenty random models, each with its own clips, have the same ids and scores, also in a batch."""
    lengths = compared(options, range(20))
    assert len(lengths) > 5  # hypotheses that end by themselves, and some at the maximum length
    assert max(lengths) == options.max_length - 1


def test_hypotheses_match_transformers_with_early_stopping_never() -> None:
    assert max(compared(NEVER, range(4))) == NEVER.max_length - 1


def compared(options: SearchSettings, seeds: range) -> set[int]:
    """Assert that random models give the same hypotheses as in transformers; return the lengths of hypotheses."""
    lengths: set[int] = set()
    for seed in seeds:
        theirs = transformers_model(seed, encoder={"hidden_size": 32 if seed % 2 else 48})
        model = ours(theirs)
        clips = waveforms(seed, 0.3 + 0.1 * seed, 0.9, 2.2 - 0.05 * seed)
        batch = found(model, clips, options)
        for index, clip in enumerate(clips):
            ids, scores = generated(
                theirs,
                clip,
                TAG + index % 2,
                num_beams=options.beam_size,
                num_return_sequences=options.n_best,
                max_length=options.max_length,
                length_penalty=options.length_penalty,
                early_stopping=options.early_stopping,
            )
            assert [list(hypothesis.ids) for hypothesis in batch[index]] == ids
            if scores is not None:
                assert [hypothesis.score for hypothesis in batch[index]] == pytest.approx(scores, abs=1e-4)
            lengths.update(len(row) for row in ids)
    return lengths


def test_batches_do_not_change_hypotheses() -> None:
    model = ours(transformers_model(4))
    clips = waveforms(2, 0.4, 2.0, 1.1, 0.7, 1.6)
    options = SearchOptions(max_length=24, n_best=3)
    batch = found(model, clips, options)
    for index, clip in enumerate(clips):
        memory = model.cross_attention_cache(*collate_waveforms([clip], normalize=True))
        [alone] = search(model.decoder, memory, [TAG + index % 2], options)
        assert [hypothesis.ids for hypothesis in alone] == [hypothesis.ids for hypothesis in batch[index]]
        assert [hypothesis.score for hypothesis in alone] == pytest.approx([h.score for h in batch[index]], abs=1e-5)


def test_each_utterance_has_its_own_target_language() -> None:
    model = ours(transformers_model(4))
    batch = found(model, waveforms(2, 1.0, 1.0), SearchOptions(max_length=24))
    assert [hypotheses[0].ids[0] for hypotheses in batch] == [TAG, TAG + 1]


def test_the_score_is_the_log_probability_divided_by_the_length_to_the_penalty() -> None:
    [[best]] = found(ours(transformers_model(4)), waveforms(2, 1.0), SearchOptions(max_length=24, length_penalty=0.7))
    assert best.score == pytest.approx(best.log_prob / len(best.ids) ** 0.7)


def test_hypotheses_do_not_exceed_the_positions_of_the_decoder() -> None:
    model = ours(transformers_model(4, decoder={"max_position_embeddings": 9}))
    for hypotheses in found(model, waveforms(2, 1.0, 0.5), SearchOptions(beam_size=2)):
        assert len(hypotheses[0].ids) <= 8


@pytest.mark.parametrize("beam", [1, 5])
def test_nan_scores_are_an_error(beam: int) -> None:
    model = ours(transformers_model(4))
    with torch.no_grad():
        model.decoder.layer_norm.weight.fill_(torch.nan)
    with pytest.raises(VoxlateError, match="scores are NaN in float32: its weights are damaged; fetch the model again"):
        found(model, waveforms(2, 1.0), SearchOptions(beam_size=beam, max_length=9))


def repeats(ids: tuple[int, ...], period: int) -> int:
    """Return the maximum number of consecutive occurrences of a phrase of `period` ids."""
    most = 1
    for start in range(len(ids) - period):
        run = 1
        while ids[start : start + period] == ids[start + run * period : start + (run + 1) * period]:
            run += 1
        most = max(most, run)
    return most


@pytest.mark.parametrize("beam", [1, 5])
def test_max_repeats_prevents_loops_and_nothing_else(beam: int) -> None:
    looping, unchanged = 0, 0
    for seed in range(12):
        model = ours(transformers_model(seed))
        clips = waveforms(seed, 1.0)
        [[free]] = found(model, clips, SearchOptions(beam_size=beam, max_length=40, max_repeats=None))
        [[guarded]] = found(model, clips, SearchOptions(beam_size=beam, max_length=40, max_repeats=2))
        assert max(repeats(guarded.ids[1:-1], period) for period in range(1, 13)) <= 2
        if max(repeats(free.ids[1:-1], period) for period in range(1, 13)) > 2:
            looping += 1
        elif beam == 1:
            assert guarded.ids == free.ids
            unchanged += 1
    assert looping > 0
    assert unchanged > 0 or beam > 1


@pytest.mark.parametrize("most", [1, 3, 4])
def test_a_phrase_occurs_exactly_as_often_as_max_repeats_allows(most: int) -> None:
    """A model that can only output one piece repeats it exactly that many times."""
    model = ours(transformers_model(4))
    with torch.no_grad():
        model.decoder.output_weight[8:].zero_()  # only piece 7 gets a high score
        model.decoder.output_weight[:7].zero_()
        direction_D = model.decoder.layer_norm.bias = torch.nn.Parameter(torch.ones(32) * 3)
        model.decoder.layer_norm.weight.zero_()
        model.decoder.output_weight[7] = direction_D
        model.decoder.output_weight[9] = direction_D * 0.9
    options = SearchOptions(beam_size=1, max_length=30, max_repeats=most)
    [[guarded]] = found(model, waveforms(0, 1.0), options)
    assert repeats(guarded.ids[1:-1], 1) == most
    assert max(repeats(guarded.ids[1:-1], period) for period in range(1, 13)) == most


def test_unset_options_take_the_defaults_of_the_model_or_the_published_setting() -> None:
    assert SearchOptions().resolve() == SearchSettings() == SearchSettings(5, 1.0, 200, True, 1, 4, False)
    stated = {"beam_size": 3, "max_length": 50, "early_stopping": "never"}
    resolved = SearchOptions(beam_size=2, max_repeats=None).resolve(stated)
    assert resolved == SearchSettings(2, 1.0, 50, "never", 1, None)
    assert resolved.resolve(stated) == resolved
    with pytest.raises(VoxlateError, match="n_best is 4, expected 1 to the beam size, 3"):
        SearchOptions(n_best=4).resolve(stated)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beam_size": 0}, "beam_size is 0, expected 1"),
        ({"beam_size": 10**9}, r"beam_size is 1000000000, expected 1 \(greedy\) to 1000"),
        ({"n_best": 0}, "n_best is 0, expected 1 or more"),
        ({"beam_size": 2, "n_best": 3}, "n_best is 3, expected 1 to the beam size, 2"),
        ({"max_length": 2}, "max_length is 2, expected 3"),
        ({"length_penalty": float("nan")}, "length_penalty is nan, expected a number between -10 and 10"),
        ({"length_penalty": 1e308}, r"length_penalty is 1e\+308"),
        ({"max_repeats": 0}, "max_repeats is 0, expected 1 or more, or None"),
        ({"beam_size": "5"}, "beam_size is '5', expected a whole number"),
        ({"beam_size": 2.5, "length_penalty": "1"}, "beam_size is 2.5.*; length_penalty is '1', expected a number"),
        ({"beam_size": 0, "max_length": 0}, "beam_size is 0.*; max_length is 0"),
    ],
)
def test_options_out_of_range_are_errors(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(VoxlateError, match=message):
        SearchOptions(**fields)


def test_the_former_name_of_the_beam_size_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="beam is now called beam_size"):
        options = SearchOptions(beam=3, n_best=2)  # type: ignore[call-arg]
    assert options == SearchOptions(beam_size=3, n_best=2)
    with pytest.warns(DeprecationWarning, match="beam is now called beam_size"):
        assert options.beam == 3
    with pytest.raises(TypeError, match="both beam_size and beam, its former name, are given; leave one out"):
        SearchOptions(beam_size=3, beam=3)  # type: ignore[call-arg]
