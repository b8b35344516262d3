"""Model folders with something missing, damaged or unexpected are refused, with a message of one line."""

import json
from pathlib import Path

import pytest
import torch

from model_files import edit_config, retouch
from tiny import VOCABULARY, transformers_model, write_model
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.errors import VoxlateError


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
    check_refused(folder, r"1 with the wrong shape: decoder\.layer_norm\.weight is \(31,\), expected \(32,\)")


def test_a_tensor_outside_the_model(folder: Path) -> None:
    retouch(folder, lambda tensors: tensors | {"stray": torch.ones(1)})
    check_refused(folder, r"1 unexpected: \[stray\]")


def test_tied_heads_that_differ(folder: Path) -> None:
    retouch(folder, lambda tensors: tensors | {"decoder.lm_head.weight": torch.zeros(VOCABULARY, 32)})
    check_refused(folder, "lm_head and decoder.embed_tokens differ, but the config ties them")


class Stray:
    """An object that is not a tensor."""


def test_a_bin_with_other_objects_than_tensors(folder: Path) -> None:
    retouch(folder, lambda tensors: {**tensors, "stray": Stray()}, as_bin=True)
    check_refused(folder, r"pytorch_model\.bin: holds Python objects other than tensors, which are never loaded")


def test_a_bin_with_other_content(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text("<html>no such file</html>")
    check_refused(folder, r"pytorch_model\.bin: ")


def test_a_truncated_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    check_refused(folder, r"model\.safetensors: an incomplete safetensors file .*; fetch it again")


def test_folders_without_a_model(folder: Path, tmp_path: Path) -> None:
    check_refused(tmp_path / "nowhere", "no such folder; expected a folder or a Hub id such as owner/name")
    check_refused(folder / "config.json", "is a file; expected the folder with it")
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


def test_an_unknown_encoder_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_config(folder, encoder=config["encoder"] | {"model_type": "sew"})
    check_refused(folder, "unknown speech encoder 'sew'")


def test_a_vocabulary_that_is_missing_or_of_another_model(folder: Path, shared: Path) -> None:
    path = folder / "sentencepiece.bpe.model"
    path.write_bytes((shared / "probe-model" / path.name).read_bytes())
    check_refused(folder, rf"has 432 ids, but the decoder has {VOCABULARY}; it belongs to another model")
    path.unlink()
    check_refused(folder, r"no sentencepiece\.bpe\.model or tokenizer\.json; copy it")


def test_targets_are_every_mbart_language_unless_the_folder_lists_them(folder: Path) -> None:
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


def test_language_tokens_given_by_the_user(folder: Path) -> None:
    assert load_checkpoint(folder, language_tokens={"Latvian": "lv_LV", "cy": 55}).target_id("lv") == 64
    assert load_checkpoint(folder, language_tokens={"Latvian": "lv_LV", "cy": 55}).target_id("cy") == 55
    with pytest.raises(VoxlateError, match="token 999 of cy is not an id below 102"):
        load_checkpoint(folder, language_tokens={"cy": 999})
    with pytest.raises(VoxlateError, match="unknown language tag 'lv_XX'"):
        load_checkpoint(folder, language_tokens={"lv": "lv_XX"})


def test_languages_file_with_an_unknown_language(folder: Path) -> None:
    (folder / "languages.json").write_text('{"targets": {"klingon": 53}}')
    check_refused(folder, r"languages\.json: unknown language 'klingon'")


def test_languages_file_without_a_table(folder: Path) -> None:
    (folder / "languages.json").write_text('{"targets": ["ca"]}')
    check_refused(folder, r'languages\.json: expected \{"targets": \{"de": 250003, …\}\}')
