"""omniASR-W2V: the states that fairseq2 computes, the published sizes, and files of other kinds."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, Wav2Vec2Config

from fairseq2_layout import fairseq2_states, fairseq2_tensors, tiny_config, write_fairseq2
from tiny import waveforms, write_mbart
from voxlate.checkpoints.convert import convert
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.fairseq2 import OMNIASR_SIZES, build_fairseq2_encoder
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.checkpoints.warm_start import start_model
from voxlate.data.batching import collate_waveforms
from voxlate.errors import VoxlateError

HEADS = {"num_attention_heads": 4}


@pytest.mark.parametrize("kind", ["XLS-R, XLSR-53, wav2vec 2.0 LV-60", "wav2vec 2.0 base"])
@torch.inference_mode()
def test_states_are_those_that_fairseq2_computes(kind: str, tmp_path: Path) -> None:
    """Layer norms before the blocks, as in omniASR, and after them."""
    tensors = write_fairseq2(tmp_path / "omniASR-W2V.pt", tiny_config(kind))
    encoder: Any = read_encoder(tmp_path / "omniASR-W2V.pt", HEADS)
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, 1.3, 0.8), normalize=True)
    states_BSD, frames_B = encoder.eval()(waveform_BT, lengths_B)
    for index, samples in enumerate(lengths_B.tolist()):
        expected = fairseq2_states(tensors, waveform_BT[index : index + 1, :samples], heads=4)[0]
        torch.testing.assert_close(states_BSD[index, : frames_B[index]], expected, atol=1e-4, rtol=1e-4)
    assert expected.std(dim=0).mean() > 0.1  # states differ in time


@torch.inference_mode()
def test_a_converted_encoder_loads_in_transformers(tmp_path: Path) -> None:
    tensors = write_fairseq2(tmp_path / "model.pt", tiny_config())
    said = convert(str(tmp_path / "model.pt"), tmp_path / "folder", [], None)
    assert re.fullmatch(r".*/folder: a speech encoder, 0\.0 million parameters", said)
    theirs, ours = AutoModel.from_pretrained(tmp_path / "folder").eval(), read_encoder(tmp_path / "folder")
    waveform_BT, _ = collate_waveforms(waveforms(7, 1.3), normalize=True)
    expected = fairseq2_states(tensors, waveform_BT, heads=16)
    torch.testing.assert_close(theirs(waveform_BT).last_hidden_state, expected, atol=1e-4, rtol=1e-4)
    assert ours.normalize_waveform
    assert all(torch.equal(ours.model.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())


@pytest.mark.parametrize("name", OMNIASR_SIZES)
def test_the_published_sizes_have_the_published_numbers_of_parameters(name: str) -> None:
    size = OMNIASR_SIZES[name]
    config = Wav2Vec2Config(
        hidden_size=size.width, num_hidden_layers=size.layers, intermediate_size=size.ffn_width,
        num_attention_heads=size.attention_heads, codevector_dim=size.quantized_width,
        proj_codevector_dim=size.quantized_width, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True,
    )  # fmt: skip
    tensors = fairseq2_tensors(config, "meta")
    parameters = {key: tensor.numel() for key, tensor in tensors.items() if key != "quantizer.num_updates"}
    assert sum(parameters.values()) == size.parameters
    encoder = build_fairseq2_encoder(tensors, Path(f"{name}.pt"))
    heads = sum(number for key, number in parameters.items() if key.startswith(("quantizer", "final")))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == size.parameters - heads
    assert encoder.config.num_attention_heads == 16
    assert encoder.config.do_stable_layer_norm


def test_dropout_is_that_of_pretraining_and_can_be_set(tmp_path: Path) -> None:
    write_fairseq2(tmp_path / "model.pt", tiny_config())
    config = read_encoder(tmp_path / "model.pt", {**HEADS, "hidden_dropout": 0.3}).config
    assert (config.hidden_dropout, config.attention_dropout, config.layerdrop) == (0.3, 0.0, 0.0)


def test_an_encoder_starts_a_model_and_a_folder_may_hold_it(tmp_path: Path, vocabulary: Path) -> None:
    (tmp_path / "omni").mkdir()
    tensors = write_fairseq2(tmp_path / "omni/omniASR-W2V-300M.pt", tiny_config())
    write_mbart(tmp_path / "mbart", vocabulary)
    for encoder in (tmp_path / "omni", tmp_path / "omni/omniASR-W2V-300M.pt"):
        model = start_model(encoder, tmp_path / "mbart").model
        weight = model.encoder.model.feature_projection.projection.weight
        assert torch.equal(weight, tensors["encoder_frontend.model_dim_proj.weight"])


def test_the_encoder_of_a_repository_without_config_is_found_by_short_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repositories of omniASR hold a card and a `.pt` file."""
    repository, commit = tmp_path / "models--facebook--omniASR-W2V-300M", "0123456789abcdef0123456789abcdef01234567"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    tensors = write_fairseq2(repository / "snapshots" / commit / "omniASR-W2V-300M.pt", tiny_config())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = read_encoder("omniasr-w2v-300m")
    embedding = encoder.model.masked_spec_embed
    assert torch.equal(embedding, tensors["masker.temporal_mask_embed"])
    assert convert("facebook/omniASR-W2V-300M", tmp_path / "folder", [], None).startswith(
        f"{tmp_path}/folder: a speech"
    )
    with pytest.raises(VoxlateError, match=f"{commit}: no config.json; expected the folder of a SpeechEncoderDecoder"):
        load_checkpoint("omniasr-w2v-300m")


def test_messages_about_other_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"

    def refused(match: str) -> None:
        with pytest.raises(VoxlateError, match=match):
            read_encoder(path)

    refused(r"a.pt: no such file; expected a fairseq2 checkpoint, such as omniASR-W2V-300M.pt")
    torch.save({"model": {"encoder.layer_norm.weight": torch.ones(2)}}, path)
    refused("a.pt: has no encoder_frontend; expected an omniASR-W2V checkpoint")
    tensors = write_fairseq2(path, tiny_config())
    torch.save({"model": tensors | {"llama_decoder.layers.0.weight": torch.ones(2)}}, path)
    refused("a.pt: 1 unknown tensors: llama_decoder.layers.0.weight")
    torch.save({name: tensor for name, tensor in tensors.items() if "model_dim_proj" not in name}, path)
    refused("a.pt: has no feature_projection.projection.weight; expected a wav2vec 2.0 encoder of fairseq2")
    torch.save({"model": tensors | {"encoder_frontend.layer_norm.weight": torch.ones(32)}}, path)
    refused("a.pt: 1 unknown tensors: ")
    write_fairseq2(path, tiny_config())
    with pytest.raises(VoxlateError, match="a speech encoder, which has no vocabulary; omit --trim-to and --vocab"):
        convert(str(path), tmp_path / "folder", ["de"], None)
    write_fairseq2(tmp_path / "b.pt", tiny_config())
    with pytest.raises(VoxlateError, match=r"no config\.json, and 2 checkpoints; name one of them with --model"):
        read_encoder(tmp_path)
