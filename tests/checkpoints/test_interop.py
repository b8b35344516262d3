"""Folders of transformers and ours are the same folders, old and new, and nothing is read that does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    SpeechEncoderDecoderModel,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
)

from parity import TOKENS, logits, same, their_logits
from tiny import (
    VOCABULARY,
    transformers_model,
    waveforms,
    write_encoder,
    write_mbart,
    write_model,
    write_tokenizer_json,
)
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint, save_checkpoint
from voxlate.checkpoints.warm_start import start_model
from voxlate.checkpoints.weights import weights_sha256
from voxlate.data.batching import collate_waveforms
from voxlate.errors import VoxlateError

VARIANTS: dict[str, dict[str, Any]] = {
    "as XLS-R 300M": {},
    "as XLS-R 1B": {"encoder": {"hidden_size": 48, "output_hidden_size": 32}},
    "bridge": {"encoder": {"add_adapter": False, "hidden_size": 48, "output_hidden_size": 48}},
    "gelu": {"decoder": {"activation_function": "gelu"}},
    "untied head": {"decoder": {"tie_word_embeddings": False}},
    "no masking": {"encoder": {"mask_time_prob": 0.0}},
}


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS.keys())
def test_there_and_back(tmp_path: Path, vocabulary: Path, fields: dict[str, Any]) -> None:
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


def test_what_we_save_generates_in_transformers_as_it_is(tmp_path: Path, tiny_model: Path) -> None:
    checkpoint = load_checkpoint(tiny_model)
    save_checkpoint(tmp_path, checkpoint.model, checkpoint.tokenizer, {"de": checkpoint.targets["de"]})
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(waveforms(7, 1.3)[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    model = SpeechEncoderDecoderModel.from_pretrained(tmp_path).eval()
    assert model.generation_config.num_beams == 5
    ids = model.generate(**inputs, max_length=12)[0].tolist()
    assert ids[:2] == [2, checkpoint.targets["de"]]


# --- how the tensors may lie in their files --------------------------------------------------------------------------


def retouch(folder: Path, change: Any, *, as_bin: bool = False) -> None:
    """Rewrite the weights of a folder, as a ``.bin`` if asked."""
    tensors = change(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    if as_bin:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


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
def test_files_of_every_age(tmp_path: Path, vocabulary: Path, change: Any, as_bin: bool) -> None:
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "model", vocabulary, theirs)
    retouch(folder, change, as_bin=as_bin)
    same(logits(load_checkpoint(folder).model), their_logits(theirs))


def test_a_config_of_2021(tmp_path: Path, vocabulary: Path) -> None:
    """Generation settings at the top, both sub-configs full of defaults of the time, `is_encoder_decoder` twice."""
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


def test_a_bin_older_than_zip_files(tmp_path: Path, vocabulary: Path) -> None:
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "model", vocabulary, theirs)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    same(logits(load_checkpoint(folder).model), their_logits(theirs))


def test_shards(tmp_path: Path, vocabulary: Path) -> None:
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


def test_a_joint_processor_file_says_whether_to_normalise(tmp_path: Path, vocabulary: Path) -> None:
    folder = write_model(tmp_path / "model", vocabulary, transformers_model(2))
    assert load_checkpoint(folder).model.encoder.normalize_waveform
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text('{"feature_extractor": {"do_normalize": false}}')
    assert not load_checkpoint(folder).model.encoder.normalize_waveform


def test_a_tokenizer_json_does_where_transformers_left_nothing_else(tmp_path: Path, vocabulary: Path) -> None:
    folder = write_model(tmp_path / "model", vocabulary, transformers_model(2))
    write_tokenizer_json(folder / "tokenizer.json", vocabulary)
    (folder / "sentencepiece.bpe.model").unlink()
    checkpoint = load_checkpoint(folder)
    assert checkpoint.target_id("de") == 51
    save_checkpoint(tmp_path / "again", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    text = "the train leaves at seven"
    again = load_checkpoint(tmp_path / "again").tokenizer
    assert again.decode(again.encode(text)) == text


def test_precision(tiny_model: Path) -> None:
    model = load_checkpoint(tiny_model, dtype=torch.bfloat16).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert logits(model).isfinite().all()


def test_the_hash_is_that_of_the_file(tiny_model: Path) -> None:
    import hashlib

    assert weights_sha256(tiny_model) == hashlib.sha256((tiny_model / "model.safetensors").read_bytes()).hexdigest()


# --- what does not fit is refused ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, vocabulary: Path) -> Path:
    return write_model(tmp_path / "model", vocabulary, transformers_model(2))


def check_refused(folder: Path, message: str) -> None:
    with pytest.raises(VoxlateError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_missing_unexpected_and_misshapen_tensors(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        del tensors["encoder.adapter.layers.1.conv.bias"]
        tensors["decoder.model.decoder.layer_norm.weight"] = torch.ones(31)
        return tensors | {"encoder.quantizer.codevectors": torch.ones(2)}

    retouch(folder, change)
    check_refused(
        folder, r"1 missing: adapter\.layers\.1\.conv\.bias; 1 unexpected: encoder\.model\.quantizer\.codevectors; "
    )
    check_refused(folder, r"1 of another shape: decoder\.layer_norm\.weight is \(31,\), expected \(32,\)")


def test_a_tensor_outside_the_model(folder: Path) -> None:
    retouch(folder, lambda tensors: tensors | {"stray": torch.ones(1)})
    check_refused(folder, r"1 unexpected: \[stray\]")


def test_tied_heads_that_differ(folder: Path) -> None:
    retouch(folder, lambda tensors: tensors | {"decoder.lm_head.weight": torch.zeros(VOCABULARY, 32)})
    check_refused(folder, "lm_head and decoder.embed_tokens differ, but the config says that they are tied")


class Stray:
    """Something that is no tensor."""


def test_a_bin_with_more_than_tensors(folder: Path) -> None:
    retouch(folder, lambda tensors: {**tensors, "stray": Stray()}, as_bin=True)
    check_refused(folder, r"pytorch_model\.bin: holds Python objects besides tensors, which are never loaded")


def test_a_bin_that_is_none(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text("<html>no such file</html>")
    check_refused(folder, r"pytorch_model\.bin: ")


def test_half_a_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    check_refused(folder, r"model\.safetensors: not a whole safetensors file .*; fetch it again")


def edit_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def test_folders_that_are_no_models(folder: Path, tmp_path: Path) -> None:
    check_refused(tmp_path / "nowhere", "no such folder; expected a folder or a Hub id such as owner/name")
    check_refused(folder / "config.json", "is a file; expected the folder that holds it")
    (folder / "model.safetensors").unlink()
    check_refused(folder, r"no weights; expected one of model\.safetensors, .*pytorch_model\.bin")
    (folder / "config.json").write_text("{")
    check_refused(folder, r"config\.json: not JSON")
    (folder / "config.json").unlink()
    check_refused(folder, r"no config\.json; expected the folder of a SpeechEncoderDecoderModel")


def test_other_models(folder: Path) -> None:
    edit_config(folder, decoder_start_token_id=0)
    check_refused(folder, r"decoder_start_token_id is 0, expected 2 \(the mBART-50 layout\)")
    edit_config(folder, model_type="whisper")
    check_refused(folder, "a 'whisper' model with decoder 'mbart'; expected 'speech-encoder-decoder' with 'mbart'")


def test_an_encoder_family_that_is_not_known(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_config(folder, encoder=config["encoder"] | {"model_type": "sew"})
    check_refused(folder, "unknown speech encoder 'sew'")


def test_vocabulary_missing_or_of_another_model(folder: Path, shared: Path) -> None:
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes((shared / "probe-model" / path.name).read_bytes())
    check_refused(folder, rf"makes 432 ids, but the decoder has {VOCABULARY}; it belongs to another model")
    path.unlink()
    check_refused(folder, r"no sentencepiece\.bpe\.model or tokenizer\.json; copy it")


# --- languages of a checkpoint ---------------------------------------------------------------------------------------


def test_every_mbart_language_unless_the_folder_says_otherwise(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    assert checkpoint.target_id("German") == 51
    with pytest.raises(
        VoxlateError, match=r"/model does not translate into Catalan \(ca\); it has af, .*--language-token ca=ID"
    ):
        checkpoint.target_id("ca")
    (folder / "languages.json").write_text('{"targets": {"ca": 53, "zh-CN": 73}}')
    checkpoint = load_checkpoint(folder)
    assert checkpoint.targets == {"ca": 53, "zh": 73}
    with pytest.raises(VoxlateError, match="it has ca, zh"):
        checkpoint.target_id("de")


def test_slots_that_the_user_names(folder: Path) -> None:
    assert load_checkpoint(folder, slots={"Latvian": "lv_LV", "cy": 55}).target_id("lv") == 64
    assert load_checkpoint(folder, slots={"Latvian": "lv_LV", "cy": 55}).target_id("cy") == 55
    with pytest.raises(VoxlateError, match="slot 999 of cy is not an id below 102"):
        load_checkpoint(folder, slots={"cy": 999})
    with pytest.raises(VoxlateError, match="unknown language tag 'lv_XX'"):
        load_checkpoint(folder, slots={"lv": "lv_XX"})


def test_languages_file_with_an_unknown_language(folder: Path) -> None:
    (folder / "languages.json").write_text('{"targets": {"klingon": 53}}')
    check_refused(folder, r"languages\.json: unknown language 'klingon'")


def test_languages_file_that_is_no_table(folder: Path) -> None:
    (folder / "languages.json").write_text('{"targets": ["ca"]}')
    check_refused(folder, r'languages\.json: expected \{"targets": \{"de": 250003, …\}\}')


# --- a new model from an encoder and mBART ---------------------------------------------------------------------------


def start(tmp_path: Path, vocabulary: Path, kind: Any) -> tuple[Checkpoint, Any, Any]:
    speech, text = write_encoder(tmp_path / "encoder", kind), write_mbart(tmp_path / "mbart", vocabulary)
    return start_model(tmp_path / "encoder", tmp_path / "mbart"), speech, text


@pytest.mark.parametrize("kind", [Wav2Vec2Model, Wav2Vec2ForPreTraining])
@torch.inference_mode()
def test_a_new_model_has_the_weights_of_both(tmp_path: Path, vocabulary: Path, kind: Any) -> None:
    checkpoint, speech, text = start(tmp_path, vocabulary, kind)
    model = checkpoint.model.eval()
    waveform_BT, lengths_B = collate_waveforms(waveforms(7, 1.3), normalize=True)
    states_BSD, lengths = model.encoder(waveform_BT, lengths_B)
    expected = getattr(speech, "wav2vec2", speech)(waveform_BT).last_hidden_state
    same(states_BSD, expected)
    # Only `model.shared` is in the file that transformers 5 writes: the decoder's embeddings must be it.
    assert "model.shared.weight" in load_file(tmp_path / "mbart" / "model.safetensors")
    states_USD, lengths_U = model.adapter(states_BSD, lengths)
    found = model.decoder.logits(model.decoder(TOKENS, model.decoder.cross_attention_cache(states_USD, lengths_U)))
    decoded = text.model.decoder(input_ids=TOKENS, encoder_hidden_states=states_USD).last_hidden_state
    same(found, text.lm_head(decoded))


def test_a_new_model_saves_and_loads(tmp_path: Path, vocabulary: Path) -> None:
    checkpoint, _, _ = start(tmp_path, vocabulary, Wav2Vec2ForPreTraining)
    save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    same(logits(load_checkpoint(tmp_path / "new").model), logits(checkpoint.model.eval()))
    same(
        their_logits(SpeechEncoderDecoderModel.from_pretrained(tmp_path / "new").eval()),
        logits(checkpoint.model.eval()),
    )


def test_checkpoints_that_cannot_be_joined(tmp_path: Path, vocabulary: Path) -> None:
    write_encoder(tmp_path / "encoder", Wav2Vec2Model)
    write_mbart(tmp_path / "mbart", vocabulary)
    with pytest.raises(VoxlateError, match="a 'wav2vec2' model, expected 'mbart'"):
        start_model(tmp_path / "encoder", tmp_path / "encoder")
    with pytest.raises(VoxlateError, match="unknown speech encoder 'mbart'"):
        start_model(tmp_path / "mbart", tmp_path / "mbart")
    with pytest.raises(VoxlateError, match="adapter_layers is 0"):
        start_model(tmp_path / "encoder", tmp_path / "mbart", adapter_layers=0)
    retouch(tmp_path / "mbart", lambda tensors: tensors | {"lm_head.weight": torch.ones(VOCABULARY, 32)})
    with pytest.raises(VoxlateError, match="input and output embeddings differ"):
        start_model(tmp_path / "encoder", tmp_path / "mbart")
