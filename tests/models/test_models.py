"""Contracts of the networks: transformers' logits, true lengths, no influence of padding."""

from typing import Any

import pytest
import torch
from torch import Tensor

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.models.adapter import AdapterConfig, LengthAdapter
from voxlate.models.caches import KVCache

VARIANTS: dict[str, dict[str, Any]] = {
    "as XLS-R 300M": {},
    "as XLS-R 1B": {"hidden_size": 48, "output_hidden_size": 32},
    "no adapter": {"add_adapter": False},
    "enc_to_dec_proj": {"add_adapter": False, "hidden_size": 48, "output_hidden_size": 48},
    "group norm": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    "wide adapter": {"adapter_kernel_size": 5, "adapter_stride": 3, "num_adapter_layers": 1},
}
# transformers' length formula holds for kernel 3 only: it cannot run the wide adapter.
KNOWN_TO_TRANSFORMERS = {name: fields for name, fields in VARIANTS.items() if name != "wide adapter"}


def tokens(rows: int, length: int = 7) -> Tensor:
    ids = torch.randint(4, 49, (rows, length), generator=torch.Generator().manual_seed(5))
    ids[:, 0], ids[:, 1] = 2, 53
    return ids


@pytest.mark.parametrize("encoder", KNOWN_TO_TRANSFORMERS.values(), ids=KNOWN_TO_TRANSFORMERS.keys())
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("fast", [False, True])
@torch.inference_mode()
def test_logits_equal_those_of_transformers(encoder: dict[str, Any], activation: str, fast: bool) -> None:
    theirs = transformers_model(3, encoder=encoder, decoder={"activation_function": activation})
    model = ours(theirs, fast=fast)
    for seconds in (0.4, 1.03, 2.5):
        waveform_BT, lengths_B = collate_waveforms(waveforms(7, seconds), normalize=True)
        expected = theirs(
            input_values=waveform_BT, attention_mask=torch.ones_like(waveform_BT).long(), decoder_input_ids=tokens(1)
        ).logits
        assert expected.std() > 0.1  # states differ, so equality is not trivial
        torch.testing.assert_close(model(waveform_BT, lengths_B, tokens(1)), expected, atol=1e-4, rtol=0)


SECONDS = (1.03, 0.31, 2.5, 0.02, 1.77)  # one of them shorter than a frame


@pytest.mark.parametrize("encoder", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("fast", [False, True])
@torch.inference_mode()
def test_results_do_not_depend_on_the_batch(encoder: dict[str, Any], fast: bool) -> None:
    model = ours(transformers_model(3, encoder=encoder), fast=fast)
    clips = waveforms(7, *SECONDS)
    states_BSD, lengths_B = model.encode(*collate_waveforms(clips, normalize=True))
    logits = model(*collate_waveforms(clips, normalize=True), tokens(len(clips)))
    for index, clip in enumerate(clips):
        alone, length = model.encode(*collate_waveforms([clip], normalize=True))
        assert length.item() == lengths_B[index].item() == alone.shape[1]
        torch.testing.assert_close(states_BSD[index, : int(length)], alone[0], atol=1e-5, rtol=0)
        single = model(*collate_waveforms([clip], normalize=True), tokens(len(clips))[index : index + 1])
        torch.testing.assert_close(logits[index], single[0], atol=5e-5, rtol=5e-5)


@torch.inference_mode()
def test_our_adapter_does_not_depend_on_the_batch_as_that_of_transformers_does() -> None:
    theirs = transformers_model(3)
    model = ours(theirs)
    clips = waveforms(7, 1.03, 2.5)
    waveform_BT, lengths_B = collate_waveforms(clips, normalize=True)
    mask = (torch.arange(waveform_BT.shape[1])[None] < lengths_B[:, None]).long()
    batched = theirs.encoder(waveform_BT, attention_mask=mask).last_hidden_state
    alone = theirs.encoder(waveform_BT[:1, : lengths_B[0]]).last_hidden_state[0]
    assert (batched[0, : len(alone)] - alone).abs().max() > 1e-2
    ours_batched, _ = model.encode(waveform_BT, lengths_B)
    torch.testing.assert_close(ours_batched[0, : len(alone)], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("encoder", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("fast", [False, True])
@torch.inference_mode()
def test_nan_in_the_padding_does_not_affect_logits(encoder: dict[str, Any], fast: bool) -> None:
    model = ours(transformers_model(3, encoder=encoder), fast=fast)
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, *SECONDS), normalize=True)
    expected = model(waveform_BT, lengths_B, tokens(len(SECONDS)))
    for row, length in zip(waveform_BT, lengths_B.tolist(), strict=True):
        row[length:] = torch.nan
    torch.testing.assert_close(model(waveform_BT, lengths_B, tokens(len(SECONDS))), expected, atol=0, rtol=0)


@torch.inference_mode()
def test_adapter_and_cross_attention_ignore_nan_after_the_lengths() -> None:
    torch.manual_seed(0)
    adapter = LengthAdapter(AdapterConfig(6, 8, layers=2)).eval()
    states_BSD, lengths_B = torch.randn(3, 21, 6), torch.tensor([21, 13, 1])
    expected, lengths = adapter(states_BSD, lengths_B)
    assert lengths.tolist() == [6, 4, 1]
    for row, length in zip(states_BSD, lengths_B.tolist(), strict=True):
        row[length:] = torch.nan
    found, _ = adapter(states_BSD, lengths_B)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)

    decoder = ours(transformers_model(3)).decoder
    states_USD, lengths_U = torch.randn(2, 9, 32), torch.tensor([9, 4])
    expected = decoder(tokens(2), decoder.cross_attention_cache(states_USD, lengths_U))
    states_USD[1, 4:] = torch.nan
    torch.testing.assert_close(
        decoder(tokens(2), decoder.cross_attention_cache(states_USD, lengths_U)), expected, atol=0, rtol=0
    )


def test_gradients_reach_the_first_layer_and_none_is_nan() -> None:
    model = ours(transformers_model(3, encoder={"mask_time_prob": 0.0})).train()
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, 0.5, 1.2), normalize=True)
    waveform_BT[0, lengths_B[0] :] = torch.nan
    model(waveform_BT, lengths_B, tokens(2)).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    first = gradients["encoder.model.feature_extractor.conv_layers.0.conv.weight"]
    assert first is not None
    assert first.abs().max() > 0


def test_training_never_skips_a_stride() -> None:
    """With layerdrop, transformers skips adapter layers at random, and then its lengths are wrong."""
    model = ours(transformers_model(3, encoder={"layerdrop": 0.9})).train()
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, 1.0), normalize=True)
    shapes = {model.encode(waveform_BT, lengths_B)[0].shape for _ in range(20)}
    assert shapes == {(1, 7, 32)}


@pytest.mark.parametrize("fast", [False, True])
@torch.inference_mode()
def test_cached_steps_equal_the_full_forward_pass(fast: bool) -> None:
    """With three hypotheses per utterance, which are reordered, and with utterances that are removed."""
    model = ours(transformers_model(3), fast=fast)
    cross_cache = model.cross_attention_cache(*collate_waveforms(waveforms(7, 1.03, 2.5, 0.4), normalize=True))
    prefix_U2 = tokens(3)[:, :2]
    ids_UKT = prefix_U2[:, None]
    kv_cache = KVCache.of_prefix(cross_cache, 2, 8)
    states = model.decoder.step(prefix_U2, torch.arange(2).expand(3, 2), cross_cache, kv_cache)
    kv_cache = kv_cache.reordered(torch.ones(3, 3, dtype=torch.long))
    ids_UKT = ids_UKT.expand(-1, 3, -1)
    random = torch.Generator().manual_seed(0)
    for length in range(2, 9):
        newest_UK = torch.randint(4, 60, (len(ids_UKT), 3), generator=random)
        ids_UKT = torch.cat([ids_UKT, newest_UK[:, :, None]], dim=2)
        kv_cache = kv_cache.select(torch.arange(len(ids_UKT)), 3 * length)
        kv_cache = kv_cache.extended(torch.full((len(ids_UKT),), 2 + 3 * (length - 2)))
        states = model.decoder.step(newest_UK, torch.full_like(newest_UK, length), cross_cache, kv_cache)
        for row in range(3):
            full = model.decoder(ids_UKT[:, row], cross_cache)
            torch.testing.assert_close(states[:, row], full[:, -1], atol=1e-5, rtol=1e-5)
        origins_UK = torch.randint(3, newest_UK.shape, generator=random)
        kv_cache = kv_cache.reordered(origins_UK)
        ids_UKT = ids_UKT.gather(1, origins_UK[:, :, None].expand(-1, -1, ids_UKT.shape[2]))
        if length == 5:
            kept_U = torch.tensor([2, 0])
            cross_cache, ids_UKT = cross_cache.select(kept_U, cross_cache.states), ids_UKT[kept_U]
            kv_cache = kv_cache.select(kept_U, 3 * length)


def test_normalization_equals_the_feature_extractor() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    clips = [clip * loudness for clip, loudness in zip(waveforms(7, 0.5, 1.2), (1.0, 1e-3), strict=True)]
    expected = extractor([clip.numpy() for clip in clips], sampling_rate=16_000, padding=True, return_tensors="pt")
    waveform_BT, lengths_B = collate_waveforms(clips, normalize=True)
    torch.testing.assert_close(waveform_BT, expected["input_values"], atol=1e-5, rtol=1e-5)
    assert lengths_B.tolist() == expected["attention_mask"].sum(1).tolist()
    unchanged, _ = collate_waveforms(clips, normalize=False)
    torch.testing.assert_close(unchanged[0, : lengths_B[0]], clips[0])


def test_an_empty_clip_is_one_frame_of_silence() -> None:
    model = ours(transformers_model(3))
    states_BSD, lengths_B = model.encode(*collate_waveforms([torch.zeros(0)], normalize=True))
    assert lengths_B.tolist() == [1]
    assert states_BSD.isfinite().all()


def test_a_new_adapter_keeps_the_scale_of_states() -> None:
    torch.manual_seed(0)
    adapter = LengthAdapter(AdapterConfig(192, 192, layers=2))
    states_BSD, _ = adapter(torch.randn(4, 100, 192), torch.full((4,), 100))
    assert 0.3 < states_BSD.std().item() < 1.0
