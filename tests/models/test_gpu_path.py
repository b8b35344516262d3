"""The parts for GPUs equal the plain ones, on a CPU: in any precision, with gradients, and compiled."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from host_waits import ForbidHostWaits
from random_encoders import build
from tiny import KINDS, waveforms
from voxlate.data.batching import collate_waveforms
from voxlate.models.fast_path import install_fast_path
from voxlate.models.gpu.front_end import FrontEnd
from voxlate.models.gpu.gpu_path import compile_encoders, replace_parts
from voxlate.models.sentence_boundaries import first_layers

XLSR = KINDS["XLS-R, XLSR-53, wav2vec 2.0 LV-60"]


def extractors() -> tuple[Any, Any]:
    """Return the convolutions of an encoder with a realistic number of channels, and their replacement."""
    fields = {**XLSR[1], "conv_dim": [32] * 7}
    encoder: Any = build((XLSR[0], fields, True))
    plain = encoder.model.feature_extractor
    for layer in plain.conv_layers:
        torch.nn.init.normal_(layer.layer_norm.weight, mean=1.0, std=0.2)
        torch.nn.init.normal_(layer.layer_norm.bias, std=0.2)
    fast = copy.deepcopy(plain)
    fast.forward = FrontEnd(fast)
    return plain, fast


def batch() -> Tensor:
    return collate_waveforms(waveforms(1, 0.4, 0.9, 0.63), normalize=True)[0]


def relative_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    ours_N, theirs_N = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (ours, theirs))
    return float((ours_N - theirs_N).norm() / theirs_N.norm())


def test_convolutions_as_matrix_products_have_the_same_values_and_gradients() -> None:
    plain, fast = extractors()
    found = []
    for extractor in (plain, fast):
        features = extractor(batch())
        features.square().sum().backward()
        found.append([features.detach(), *(parameter.grad for parameter in extractor.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("autocast", [False, True])
def test_convolutions_in_bfloat16(autocast: bool) -> None:
    plain, fast = extractors()
    exact = plain(batch()).detach()
    if not autocast:
        fast.to(torch.bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        rounded = fast(batch())
    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - exact).norm() / exact.norm()) < 0.03


@pytest.mark.parametrize(
    "kind", ["XLS-R, XLSR-53, wav2vec 2.0 LV-60", "HuBERT base", "HuBERT with batch norm", "w2v-BERT 2.0"]
)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_with_dropout_and_layerdrop_is_the_same(kind: str, checkpointing: bool) -> None:
    name, fields, normalize = KINDS[kind]
    plain: Any = build((name, {**fields, "layerdrop": 0.4, "hidden_dropout": 0.1, "num_hidden_layers": 4}, normalize))
    fast = copy.deepcopy(plain)
    replace_parts(fast)
    waveform_BT, lengths_B = collate_waveforms(waveforms(2, 0.5, 1.1), normalize=True)
    found = []
    for encoder in (plain, fast):
        if checkpointing:
            encoder.checkpoint_gradients()
        torch.manual_seed(4)
        states_BSD, frames_B = encoder.train()(waveform_BT, lengths_B)
        states_BSD.square().sum().backward()
        gradients = {name: part.grad for name, part in encoder.named_parameters() if part.grad is not None}
        found.append((states_BSD.detach(), frames_B, gradients))
    (theirs, their_frames, expected), (ours, our_frames, gradients) = found
    assert torch.equal(our_frames, their_frames)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert gradients.keys() == expected.keys()
    assert relative_difference([*gradients.values()], [expected[name] for name in gradients]) < 1e-4


def test_lengths_on_the_host_are_those_of_the_states() -> None:
    for kind in KINDS.values():
        encoder: Any = build(kind)
        waveform_BT, lengths_B = collate_waveforms(waveforms(3, 0.02, 0.7, 1.3), normalize=True)
        with torch.inference_mode():
            _, frames_B = encoder(waveform_BT, lengths_B)
        assert encoder.frame_lengths(lengths_B).tolist() == frames_B.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_an_encoder_does_not_wait_for_the_device(kind: str, training: bool) -> None:
    if "WavLM" in kind and int(transformers.__version__.split(".")[1]) < 23:
        pytest.skip("older releases of transformers 5 compute WavLM's position biases on the host")
    encoder: Any = build(KINDS[kind])
    replace_parts(encoder)
    waveform_BT, lengths_B = collate_waveforms(waveforms(3, 0.7, 1.3), normalize=True)
    with torch.set_grad_enabled(training), ForbidHostWaits([waveform_BT, *encoder.parameters()]) as mode:
        states_BSD, _ = encoder.train(training)(waveform_BT, lengths_B)
        if training:
            states_BSD.sum().backward()
    assert mode.calls > 100


@pytest.mark.parametrize("kind", ["XLS-R, XLSR-53, wav2vec 2.0 LV-60", "w2v-BERT 2.0"])
def test_the_first_layers_of_an_encoder_stay_the_first_ones(kind: str) -> None:
    encoder: Any = build(KINDS[kind])
    waveform_BT, lengths_B = collate_waveforms(waveforms(3, 0.7, 1.3), normalize=True)
    with torch.inference_mode():
        expected, _ = first_layers(encoder, 1)(waveform_BT, lengths_B)
        replace_parts(encoder)
        states_BSD, _ = first_layers(encoder, 1)(waveform_BT, lengths_B)
    torch.testing.assert_close(states_BSD, expected, rtol=1e-4, atol=1e-4)


def test_nothing_is_compiled_for_short_jobs_and_all_layers_for_long_ones() -> None:
    plain, fast = extractors()
    counted: list[str] = []

    def backend(graph: Any, _: Any) -> Any:
        counted.append("graph")
        return graph.forward

    fast.forward.backend, fast.forward.compile_after_seconds = backend, 5.0
    with torch.inference_mode():
        fast(batch())  # 2.7 s with padding
        assert not counted
        torch.testing.assert_close(fast(batch()), plain(batch()), rtol=1e-4, atol=1e-4)
        assert len(counted) == 1  # one graph for all layers
        fast(batch()[:2, :9_000])
        assert len(counted) == 1  # and for all sizes


def test_a_backend_that_fails_leaves_the_plain_path(caplog: pytest.LogCaptureFixture) -> None:
    plain, fast = extractors()

    def backend(*_: Any) -> Any:
        raise RuntimeError("no compiler\nat all")

    fast.forward.backend, fast.forward.compile_after_seconds = backend, 0.0
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        torch.testing.assert_close(fast(batch()), plain(batch()), rtol=1e-4, atol=1e-4)
        fast(batch())
    [record] = caplog.records
    assert record.getMessage().startswith("layer norm stays uncompiled, which is slower (BackendCompilerFailed: ")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile looks at it
@pytest.mark.parametrize("backend", ["eager", pytest.param("aot_eager", marks=pytest.mark.slow)])
def test_compiled_encoders_have_the_same_values_and_gradients(backend: str) -> None:
    plain: Any = build(XLSR)
    fast = copy.deepcopy(plain)
    replace_parts(fast)
    compile_encoders(fast, backend)
    found = []
    for encoder in (plain, fast):
        waveform_BT, lengths_B = collate_waveforms(waveforms(2, 0.5, 1.1), normalize=True)
        torch.manual_seed(4)
        states_BSD, _ = encoder(waveform_BT, lengths_B)
        states_BSD.square().sum().backward()
        found.append([states_BSD.detach(), *(part.grad for part in encoder.parameters() if part.grad is not None)])
    assert relative_difference(found[1][:1], found[0][:1]) < 1e-5
    assert relative_difference(found[1][1:], found[0][1:]) < 1e-4
    assert fast.state_dict().keys() == plain.state_dict().keys()


def test_the_switch_leaves_models_on_a_cpu_to_the_path_for_cpus() -> None:
    encoder: Any = build(XLSR)
    install_fast_path(encoder)
    assert not isinstance(encoder.model.feature_extractor.forward, FrontEnd)
    assert "transformer" not in vars(encoder)
