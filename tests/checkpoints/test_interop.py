"""Model folders are the same for transformers and for us, in all their formats."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    SpeechEncoderDecoderModel,
)

from model_files import retouch
from parity import logits, same, their_logits
from tiny import (
    transformers_model,
    waveforms,
    write_model,
    write_tokenizer_json,
)
from voxlate.checkpoints.model_folder import load_checkpoint, save_checkpoint
from voxlate.checkpoints.weights import weights_sha256
from voxlate.errors import VoxlateError

VARIANTS: dict[str, dict[str, Any]] = {
    "as XLS-R 300M": {},
    "as XLS-R 1B": {"encoder": {"hidden_size": 48, "output_hidden_size": 32}},
    "enc_to_dec_proj": {"encoder": {"add_adapter": False, "hidden_size": 48, "output_hidden_size": 48}},
    "gelu": {"decoder": {"activation_function": "gelu"}},
    "untied head": {"decoder": {"tie_word_embeddings": False}},
    "no masking": {"encoder": {"mask_time_prob": 0.0}},
}


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_model_survives_loading_and_saving(tmp_path: Path, vocabulary: Path, fields: dict[str, Any]) -> None:
    theirs = transformers_model(2, **fields)
    checkpoint = load_checkpoint(write_model(tmp_path / "theirs", vocabulary, theirs))
    same(logits(checkpoint.model), their_logits(theirs))

    save_checkpoint(tmp_path / "ours", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    back, report = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    same(their_logits(back.eval()), their_logits(theirs))
    again = load_checkpoint(tmp_path / "ours")
    same(logits(again.model), their_logits(theirs))
    assert again.targets == checkpoint.targets
    assert not list((tmp_path / "ours").glob(".*"))


def test_a_saved_model_generates_in_transformers(tmp_path: Path, tiny_model: Path) -> None:
    checkpoint = load_checkpoint(tiny_model)
    save_checkpoint(tmp_path, checkpoint.model, checkpoint.tokenizer, {"de": checkpoint.targets["de"]})
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(waveforms(7, 1.3)[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    model = SpeechEncoderDecoderModel.from_pretrained(tmp_path).eval()
    assert model.generation_config.num_beams == 5
    ids = model.generate(**inputs, max_length=12)[0].tolist()
    assert ids[:2] == [2, checkpoint.targets["de"]]


def old_weight_norm(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    endings = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, old in endings.items():
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    return tensors


def head_only(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("model.decoder.embed_tokens", "lm_head"): tensor for name, tensor in tensors.items()}


def both(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"decoder.lm_head.weight": tensors["decoder.model.decoder.embed_tokens.weight"].clone()}


@pytest.mark.parametrize("change", [old_weight_norm, head_only, both, dict], ids=lambda change: change.__name__)
@pytest.mark.parametrize("as_bin", [True, False], ids=["bin", "safetensors"])
def test_old_and_new_weight_files(tmp_path: Path, vocabulary: Path, change: Any, as_bin: bool) -> None:
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "model", vocabulary, theirs)
    retouch(folder, change, as_bin=as_bin)
    same(logits(load_checkpoint(folder).model), their_logits(theirs))


def test_a_config_of_2021(tmp_path: Path, vocabulary: Path) -> None:
    """It has generation settings at the top level, many defaults of its time, and `is_encoder_decoder` twice."""
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "model", vocabulary, theirs)
    config = json.loads((folder / "config.json").read_text())
    generation = {"max_length": 200, "num_beams": 5, "early_stopping": True, "forced_bos_token_id": 53}
    old = {"transformers_version": "4.13.0.dev0", "torch_dtype": "float32", "feature_extractor_type": "wav2vec2"}
    text = {"is_encoder_decoder": True, "forced_bos_token_id": None, "bad_words_ids": None, "return_dict": True}
    config |= (
        {"eos_token_id": None}
        | generation
        | old
        | {"processor_class": "Wav2Vec2Processor", "tokenizer_class": "mbart50"}
    )
    config["decoder"] |= generation | text
    config["encoder"] |= {"mask_channel_length": 10, "mask_channel_prob": 0.0, "torch_dtype": None, "num_beams": 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").unlink()
    retouch(folder, old_weight_norm, as_bin=True)
    same(logits(load_checkpoint(folder).model), their_logits(theirs))


def test_a_bin_in_the_format_before_torch_1_6(tmp_path: Path, vocabulary: Path) -> None:
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "model", vocabulary, theirs)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    same(logits(load_checkpoint(folder).model), their_logits(theirs))


def test_sharded_weights(tmp_path: Path, vocabulary: Path) -> None:
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "model", vocabulary, theirs)
    (folder / "model.safetensors").unlink()
    theirs.save_pretrained(folder, max_shard_size="40KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    same(logits(load_checkpoint(folder).model), their_logits(theirs))
    shards[1].unlink()
    with pytest.raises(VoxlateError, match=rf"shards are missing: {shards[1].name}; fetch the whole model"):
        load_checkpoint(folder)


def test_normalization_is_read_from_the_processor_config(tmp_path: Path, vocabulary: Path) -> None:
    folder = write_model(tmp_path / "model", vocabulary, transformers_model(2))
    assert load_checkpoint(folder).model.encoder.normalize_waveform
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": false}}')
    assert not load_checkpoint(folder).model.encoder.normalize_waveform


def test_a_tokenizer_json_alone_is_enough(tmp_path: Path, vocabulary: Path) -> None:
    folder = write_model(tmp_path / "model", vocabulary, transformers_model(2))
    write_tokenizer_json(folder / "tokenizer.json", vocabulary)
    (folder / "sentencepiece.bpe.model").unlink()
    checkpoint = load_checkpoint(folder)
    assert checkpoint.target_id("de") == 51
    save_checkpoint(tmp_path / "again", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    text = "the train leaves at seven"
    again = load_checkpoint(tmp_path / "again").tokenizer
    assert again.decode(again.encode(text)) == text


def test_weights_are_loaded_in_bfloat16(tiny_model: Path) -> None:
    model = load_checkpoint(tiny_model, dtype=torch.bfloat16).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert logits(model).isfinite().all()


def test_the_hash_is_that_of_the_weight_file(tiny_model: Path) -> None:
    import hashlib

    assert weights_sha256(tiny_model) == hashlib.sha256((tiny_model / "model.safetensors").read_bytes()).hexdigest()
