"""The contract of every speech encoder: transformers' states, true lengths, no influence of padding."""

import logging
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from random_encoders import batch, build, random_translator, save_preprocessor
from tiny import KINDS, waveforms, write_mbart
from voxlate.checkpoints.model_folder import load_checkpoint, save_checkpoint
from voxlate.checkpoints.warm_start import start_model
from voxlate.config.sections import TrainableConfig
from voxlate.models import ENCODERS
from voxlate.models.cpu.install import install_cpu_path
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.gpu.gpu_path import replace_parts
from voxlate.tokenizer import Tokenizer
from voxlate.training.freezing import PRESETS, choose_trainable
from voxlate.training.objective import Objective

SECONDS = (1.03, 0.31, 2.5, 0.02, 1.77)  # one of them shorter than a frame
MODES = ["plain", "gradients", "fast CPU path", "GPU path"]


def built(kind: tuple[str, dict[str, Any], bool], mode: str) -> SpeechEncoder:
    """Return a random encoder for one of the modes."""
    encoder: Any = build(kind)
    if mode == "fast CPU path":
        install_cpu_path(encoder)
    if mode == "GPU path":
        replace_parts(encoder)
    result: SpeechEncoder = encoder
    return result


def test_every_encoder_in_the_table_is_tested() -> None:
    assert {kind for kind, _, _ in KINDS.values()} == ENCODERS.keys()


@pytest.fixture(params=[*KINDS.values()], ids=[*KINDS])
def kind(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], bool]:
    found: tuple[str, dict[str, Any], bool] = request.param
    return found


@pytest.mark.filterwarnings("ignore:Support for mismatched")  # from transformers' implementation of WavLM
@pytest.mark.parametrize("mode", MODES)
def test_states_equal_those_of_transformers(kind: tuple[str, dict[str, Any], bool], mode: str, tmp_path: Path) -> None:
    """transformers uses the feature extractor that a saved model names."""
    encoder = built(kind, mode)
    save_preprocessor(encoder, tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    theirs = AutoModel.from_config(AutoConfig.for_model(kind[0], **kind[1])).eval()
    theirs.load_state_dict(encoder.model.state_dict())
    for seconds in (0.4, 1.03, 2.5):
        [clip] = waveforms(7, seconds)
        inputs = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
        with torch.set_grad_enabled(mode == "gradients"):
            states_BSD, lengths_B = encoder(*batch(encoder, seconds))
        with torch.no_grad():
            expected = theirs(**inputs).last_hidden_state
        assert expected.std() > 0.1
        length = int(lengths_B)
        assert states_BSD.shape[1] == length
        assert expected.shape[1] - length in (0, 1)  # transformers keeps a half frame of w2v-BERT, masked
        torch.testing.assert_close(states_BSD[0].detach(), expected[0, :length], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_states_do_not_depend_on_the_batch(kind: tuple[str, dict[str, Any], bool], mode: str) -> None:
    encoder = built(kind, mode)
    with torch.set_grad_enabled(mode == "gradients"):
        states_BSD, lengths_B = encoder(*batch(encoder, *SECONDS))
        waveform_BT, samples_B = batch(encoder, *SECONDS)
        for index, samples in enumerate(samples_B.tolist()):
            alone, length = encoder(waveform_BT[index : index + 1, :samples], torch.tensor([samples]))
            assert int(length) == int(lengths_B[index]) == alone.shape[1]
            torch.testing.assert_close(states_BSD[index, : int(length)], alone[0], atol=2e-5, rtol=1e-4)
            assert not states_BSD[index, int(length) :].any()


_SURE = {"mask_time_prob": 0.0, **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout"), 0.0)}
_SURE |= {"feat_proj_dropout": 0.0, "feat_quantizer_dropout": 0.0, "conformer_conv_dropout": 0.0}


def test_states_in_training_do_not_depend_on_the_batch(kind: tuple[str, dict[str, Any], bool]) -> None:
    """Training changes no buffers either, which checkpoints do not contain."""
    encoder: Any = build((kind[0], {**kind[1], **_SURE}, kind[2]))
    encoder.train()
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    states_BSD, lengths_B = encoder(*batch(encoder, *SECONDS))
    waveform_BT, samples_B = batch(encoder, *SECONDS)
    alone, _ = encoder(waveform_BT[1:2, : int(samples_B[1])], samples_B[1:2])
    torch.testing.assert_close(states_BSD[1, : int(lengths_B[1])], alone[0], atol=2e-5, rtol=1e-4)
    assert all(torch.equal(buffer, before[name]) for name, buffer in encoder.named_buffers())


@pytest.mark.parametrize("mode", MODES)
def test_nan_in_the_padding_does_not_affect_states(kind: tuple[str, dict[str, Any], bool], mode: str) -> None:
    encoder = built(kind, mode)
    waveform_BT, lengths_B = batch(encoder, *SECONDS)
    with torch.set_grad_enabled(mode == "gradients"):
        expected, _ = encoder(waveform_BT, lengths_B)
        for row, length in zip(waveform_BT, lengths_B.tolist(), strict=True):
            row[length:] = torch.nan
        found, _ = encoder(waveform_BT, lengths_B)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_gradients_reach_the_first_layer(kind: tuple[str, dict[str, Any], bool]) -> None:
    encoder: Any = build((kind[0], {**kind[1], "mask_time_prob": 0.0}, kind[2]))
    states_BSD, _ = encoder.train()(*batch(encoder, 0.5, 1.2))
    states_BSD.square().mean().backward()
    first = next(one for name, one in encoder.named_parameters() if "masked_spec_embed" not in name).grad
    assert first is not None
    assert first.isfinite().all()
    assert first.abs().max() > 0


def test_all_trainable_parameters_get_gradients(kind: tuple[str, dict[str, Any], bool]) -> None:
    """Without layerdrop, DDP does not look for parameters without a gradient."""
    objective = Objective(
        random_translator(build((kind[0], {**kind[1], "mask_time_prob": 0.0, "layerdrop": 0.0}, kind[2]))), None, 0.1
    )
    choose_trainable(objective, TrainableConfig(preset="all", feature_encoder=True), masks_time=False)
    model = objective.translator.train()
    model(*batch(model.encoder, 0.5, 1.2), torch.tensor([[2, 4, 5]] * 2)).square().mean().backward()
    missing = [
        name for name, parameter in objective.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert not missing


def test_an_empty_row_changes_no_gradient(kind: tuple[str, dict[str, Any], bool]) -> None:
    """`Batch.rounded` adds such rows, and padding."""
    encoder: Any = build((kind[0], {**kind[1], "mask_time_prob": 0.0, "layerdrop": 0.0}, kind[2]))
    waveform_BT, lengths_B = batch(encoder, 0.5, 1.2)
    padded_BT = torch.nn.functional.pad(waveform_BT, (0, 1_000, 0, 1))
    gradients = []
    for audio_BT, samples_B in ((waveform_BT, lengths_B), (padded_BT, torch.tensor([*lengths_B.tolist(), 1]))):
        encoder.zero_grad()
        states_BSD, frames_B = encoder(audio_BT, samples_B)
        sum(states_BSD[row, : frames_B[row]].square().sum() for row in range(2)).backward()
        gradients.append([part.grad for part in encoder.parameters() if part.grad is not None])
    scale = max(float(gradient.abs().max()) for gradient in gradients[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5 * scale)


def test_checkpointing_changes_no_gradient_and_no_warning_filter(kind: tuple[str, dict[str, Any], bool]) -> None:
    """WavLM's mixed attention masks make torch warn, in the repeated forward passes, too; warnings are errors here."""
    filters = [*warnings.filters]
    gradients = []
    for checkpointing in (False, True):
        encoder: Any = build((kind[0], {**kind[1], **_SURE, "layerdrop": 0.0}, kind[2]))
        if checkpointing:
            encoder.checkpoint_gradients()
        states_BSD, _ = encoder.train()(*batch(encoder, 0.5, 1.2))
        states_BSD.square().mean().backward()
        gradients.append([part.grad for part in encoder.parameters() if part.grad is not None])
    scale = max(float(gradient.abs().max()) for gradient in gradients[0])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5 * scale)
    assert filters == [*warnings.filters]


def test_training_masks_time(kind: tuple[str, dict[str, Any], bool]) -> None:
    encoder: Any = build((kind[0], {**kind[1], "mask_time_prob": 0.5, "mask_time_length": 4}, kind[2]))
    assert encoder.masks_time
    torch.manual_seed(0)
    one, _ = encoder.train()(*batch(encoder, 1.2))
    other, _ = encoder(*batch(encoder, 1.2))
    assert not torch.equal(one, other)
    one.sum().backward()
    assert encoder.model.masked_spec_embed.grad.abs().max() > 0


@pytest.mark.filterwarnings("ignore:Support for mismatched")  # from transformers' implementation of WavLM
def test_a_model_with_it_can_be_saved_and_loaded(
    kind: tuple[str, dict[str, Any], bool], vocabulary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = random_translator(build(kind))
    tokenizer = Tokenizer(vocabulary)
    with caplog.at_level(logging.WARNING):
        save_checkpoint(tmp_path, model, tokenizer, {"de": tokenizer.tag_id("de_DE")})
    plain = model.encoder.ADAPTER_KIND == "strided"
    assert ("loads only in Voxlate: transformers has no such adapter" in caplog.text) != plain
    loaded = load_checkpoint(tmp_path).model
    assert type(loaded.encoder) is type(model.encoder)
    assert loaded.encoder.normalize_waveform == kind[2]
    waveform_BT, lengths_B = batch(model.encoder, 0.7, 1.3)
    ids_BT = torch.tensor([[2, 50, 5, 6], [2, 50, 7, 8]])
    with torch.inference_mode():
        assert torch.equal(loaded(waveform_BT, lengths_B, ids_BT), model(waveform_BT, lengths_B, ids_BT))
    if plain:
        from transformers import SpeechEncoderDecoderModel

        theirs: Any = SpeechEncoderDecoderModel.from_pretrained(tmp_path).eval()
        waveform_1T, length_1 = batch(model.encoder, 1.3)
        with torch.inference_mode():
            expected = theirs(
                input_values=waveform_1T,
                attention_mask=torch.ones_like(waveform_1T).long(),
                decoder_input_ids=ids_BT[:1],
            ).logits
            torch.testing.assert_close(model(waveform_1T, length_1, ids_BT[:1]), expected, atol=1e-4, rtol=1e-4)


def test_a_model_can_start_from_it(kind: tuple[str, dict[str, Any], bool], vocabulary: Path, tmp_path: Path) -> None:
    """From folders of a pretrained encoder and of mBART; the feature extractor determines normalization."""
    encoder = build(kind)
    encoder.model.save_pretrained(tmp_path / "encoder")
    save_preprocessor(encoder, tmp_path / "encoder")
    write_mbart(tmp_path / "mbart", vocabulary)
    model = start_model(tmp_path / "encoder", tmp_path / "mbart").model.eval()
    assert model.encoder.normalize_waveform == kind[2]
    with torch.inference_mode():
        states_BSD, lengths_B = model.encoder(*batch(encoder, 0.7, 1.3))
        expected_BSD, _ = encoder(*batch(encoder, 0.7, 1.3))
        torch.testing.assert_close(states_BSD, expected_BSD)
        assert model.adapt(states_BSD, lengths_B)[0].shape[2] == 32


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_select_its_attention(kind: tuple[str, dict[str, Any], bool], preset: str) -> None:
    objective = Objective(random_translator(build(kind)), None, 0.1)
    choose_trainable(objective, TrainableConfig.model_validate({"preset": preset}), masks_time=False)
    trainable = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    attention = [name for name in trainable if re.search(r"encoder\..*(attention|self_attn)\.", name)]
    assert bool(attention) == (preset not in ("adapter-only", "decoder-only"))
    assert any("adapter" in name for name in trainable)


def test_mel_features_of_silence_are_finite() -> None:
    encoder = build(KINDS["w2v-BERT 2.0"])
    with torch.inference_mode():
        states_BSD, lengths_B = encoder(torch.from_numpy(np.zeros((1, 8_000), np.float32)), torch.tensor([8_000]))
    assert int(lengths_B) == 24
    assert states_BSD.isfinite().all()
