"""Checkpoints of fairseq: the same logits under transformers' names, and nothing but tensors is loaded."""

import argparse
import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from parity import ours
from tiny import transformers_model, waveforms
from voxlate.checkpoints.convert import convert
from voxlate.checkpoints.fairseq import load_fairseq
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.data.batching import collate_waveforms
from voxlate.errors import VoxlateError

W2V = "encoder.w2v_encoder.w2v_model."
TOKENS = torch.tensor([[2, 52, 7, 8, 9]])


# Our names, after encoder.model., and fairseq's, after w2v_model. (xm_transformer of facebookresearch/fairseq).
ENCODER = (
    (r"feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"feature_extractor.conv_layers.\1.2.1."),
    (r"feature_projection\.projection\.", "post_extract_proj."),
    (r"feature_projection\.layer_norm\.", "layer_norm."),
    (r"masked_spec_embed", "mask_emb"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0", "encoder.pos_conv.0.weight_g"),
    (r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", "encoder.pos_conv.0.weight_v"),
    (r"encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"encoder\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
    (r"encoder\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
    (r"encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.fc1."),
    (r"encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.fc2."),
    (r"encoder\.", "encoder."),
)
ADAPTER = (
    (r"adapter\.proj\.", "encoder.w2v_encoder.proj."),
    (r"adapter\.proj_layer_norm\.", "encoder.w2v_proj_ln."),
    (r"adapter\.layers\.(\d+)\.conv\.", r"encoder.adaptor.layers.\1."),
    (r"decoder\.", "decoder."),
)


def fairseq_name(name: str) -> str:
    """Return fairseq's name of a tensor."""
    rest = name.removeprefix("encoder.model.")
    table, prefix = (ADAPTER, "") if rest == name else (ENCODER, W2V)
    return next(prefix + re.sub(pattern, theirs, rest) for pattern, theirs in table if re.match(pattern, rest))


def write_fairseq(path: Path, *, width: int = 32, extra: Any = None) -> Any:
    """Save a random model as fairseq does, with settings in classes that do not exist at loading; return it."""
    model = ours(transformers_model(3, encoder={"hidden_size": width}))
    tensors = {fairseq_name(name): tensor for name, tensor in model.state_dict().items()}
    tensors["decoder.output_projection.weight"] = tensors["decoder.embed_tokens.weight"]
    tensors["decoder.version"] = torch.tensor([3.0])
    tensors[f"{W2V}quantizer.vars"] = torch.zeros(2)
    module = types.ModuleType("omegaconf.dictconfig")
    module.DictConfig = type("DictConfig", (), {"__module__": "omegaconf.dictconfig"})  # type: ignore[attr-defined]
    sys.modules |= {"omegaconf": types.ModuleType("omegaconf"), "omegaconf.dictconfig": module}
    try:
        settings = module.DictConfig()
        settings.__dict__.update({"_content": {"encoder_attention_heads": 4}, "_flags": None})
        stored = {
            "args": argparse.Namespace(decoder_attention_heads=4, activation_fn="relu", lr=[0.1]),
            "cfg": {"model": settings, "type": dict},
            "model": tensors,
            "extra_state": extra or {"epoch": 3},
        }
        torch.save(stored, path)
    finally:
        del sys.modules["omegaconf.dictconfig"], sys.modules["omegaconf"]
    return model


@pytest.mark.parametrize("width", [32, 48])
def test_a_converted_checkpoint_has_the_same_logits(width: int, vocabulary: Path, tmp_path: Path) -> None:
    """With an encoder as wide as the decoder, and with a wider one as in 1B and 2B."""
    model = write_fairseq(tmp_path / "model.pt", width=width)
    said = convert(str(tmp_path / "model.pt"), tmp_path / "folder", [], vocabulary)
    assert re.search(r"folder: af, ar, .*; 102 of 102 ids, 0\.\d of 0\.\d million parameters", said)
    loaded = load_checkpoint(tmp_path / "folder")
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, 1.3), normalize=True)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(waveform_BT, lengths_B, TOKENS), model(waveform_BT, lengths_B, TOKENS))
    assert loaded.target_id("de") == loaded.tokenizer.tag_id("de_DE")


def test_targets_of_published_files_are_known_by_name(vocabulary: Path, tmp_path: Path) -> None:
    write_fairseq(tmp_path / "xls_r_300m_en_15.pt")
    found = load_fairseq(tmp_path / "xls_r_300m_en_15.pt", vocabulary).targets
    assert found["ca"] == 250_005
    assert len(found) == 15


class Attack:
    """An object that would run code if its pickle were loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (eval, (f"open({str(self.path)!r}, 'w')",))


@pytest.mark.parametrize("old_format", [False, True])
def test_a_malicious_pickle_is_refused_and_does_nothing(old_format: bool, vocabulary: Path, tmp_path: Path) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    write_fairseq(path, extra={"epoch": Attack(mark)})
    if old_format:
        path.write_bytes(pickle.dumps({"model": {}, "extra": Attack(mark)}))
    with pytest.raises(VoxlateError, match=r"no fairseq checkpoint needs|not a readable checkpoint"):
        load_fairseq(path, vocabulary)
    assert not mark.exists()
    if not old_format:
        with pytest.raises(VoxlateError, match=r"refers to (builtins|__builtin__)\.eval, which no fairseq checkpoint"):
            load_fairseq(path, vocabulary)


def test_messages_about_other_files_are_one_line(vocabulary: Path, tmp_path: Path) -> None:
    def refused(match: str, vocabulary: Path | None = vocabulary) -> None:
        with pytest.raises(VoxlateError, match=match):
            convert(str(tmp_path / "a.pt"), tmp_path / "folder", [], vocabulary)

    refused("a.pt: no such file")
    (tmp_path / "a.pt").write_bytes(b"nonsense")
    refused(r"a.pt: not a readable checkpoint \(.+\); fetch it again")
    torch.save([1, 2], tmp_path / "a.pt")
    refused("holds a list, expected a fairseq checkpoint")
    torch.save({"model": {"x": 3}}, tmp_path / "a.pt")
    refused("has no table of tensors under 'model'")
    torch.save({"model": {"encoder.other": torch.ones(1)}}, tmp_path / "a.pt")
    refused("1 unknown tensors: encoder.other")
    torch.save({"model": {"decoder.embed_tokens.weight": torch.ones(1)}}, tmp_path / "a.pt")
    refused(r"has no feature_projection.projection.weight; expected a wav2vec 2.0 encoder")
    write_fairseq(tmp_path / "a.pt")
    refused("has no vocabulary; name mBART-50's sentencepiece.bpe.model with --vocabulary", None)
    stored = load_fairseq(tmp_path / "a.pt", vocabulary)
    assert not stored.model.training
