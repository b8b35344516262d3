"""LoRA adapters of PEFT as models: they are merged into their base, or a message says what is missing."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from parity import logits, same, their_logits
from random_encoders import write_ctc_model
from tiny import KINDS, transformers_model, waveforms, write_model
from voxlate.checkpoints.lora import find_adapter
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.decoding.transcriber import Transcriber
from voxlate.decoding.translator import Translator
from voxlate.errors import VoxlateError
from voxlate.files import file_sha256
from voxlate.search_options import SearchOptions

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing", "ignore::UserWarning:peft"
)  # when it is created

KINDS_OF_LORA: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "v_proj"]},
    "all linear layers, scaled by rank": {"target_modules": "all-linear", "use_rslora": True},
    "DoRA": {"target_modules": ["q_proj"], "use_dora": True},
    "input embeddings, tied to those of the output": {"target_modules": ["embed_tokens"]},
    "output embeddings, tied to those of the input": {"target_modules": ["lm_head"]},
    "fully trained embeddings": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "some tokens": {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [2, 60]}},
    "convolutions, full layers": {
        "target_modules": ["conv_layers.1.conv"],
        "modules_to_save": ["layernorm_embedding"],
    },
}


def write_adapter(folder: Path, network: Any, base: str, **fields: Any) -> Any:
    """Save a random adapter of a network as PEFT does; return the network with the adapter."""
    torch.manual_seed(8)
    wrapped = peft.get_peft_model(network, peft.LoraConfig(r=2, lora_alpha=3, **fields))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name or "modules_to_save" in name or "trainable_tokens" in name:
                parameter.normal_(std=0.3)
    wrapped.peft_config["default"].base_model_name_or_path = base
    saved = "auto" if hasattr(network, "decoder") else False  # transformers cannot name HuBERT's embeddings
    wrapped.save_pretrained(str(folder), save_embedding_layers=saved)
    return wrapped.eval()


@pytest.mark.parametrize("fields", KINDS_OF_LORA.values(), ids=KINDS_OF_LORA)
def test_an_adapter_has_the_logits_of_peft(tmp_path: Path, tiny_model: Path, fields: dict[str, Any]) -> None:
    theirs = write_adapter(tmp_path / "lora", transformers_model(1), str(tiny_model), **fields)
    found = load_checkpoint(tmp_path / "lora")
    same(logits(found.model), their_logits(theirs))
    assert (logits(found.model) - logits(load_checkpoint(tiny_model).model)).abs().max() > 0.01
    assert (found.folder, found.adapter) == (tiny_model, tmp_path / "lora")


def test_the_recipe_names_adapter_and_base(tmp_path: Path, tiny_model: Path) -> None:
    write_adapter(tmp_path / "lora", transformers_model(1), str(tiny_model), target_modules=["q_proj"])
    recipe = Translator(tmp_path / "lora").recipe(SearchOptions())
    assert recipe["model"] == recipe["adapter"] == str(tmp_path / "lora")
    assert recipe["adapter_sha256"] == file_sha256(tmp_path / "lora/adapter_model.safetensors")
    assert recipe["base"] == str(tiny_model)
    assert recipe["weights_sha256"] == file_sha256(tiny_model / "model.safetensors")
    assert "adapter" not in Translator(tiny_model).recipe(SearchOptions())


def test_the_base_may_be_next_to_the_adapter(tmp_path: Path, vocabulary: Path) -> None:
    write_model(tmp_path / "base", vocabulary, transformers_model(1))
    write_adapter(tmp_path / "lora", transformers_model(1), "base", target_modules=["q_proj"])
    adapter = find_adapter(tmp_path / "lora")
    assert adapter is not None
    assert adapter.base == tmp_path / "base"


def test_an_adapter_of_a_ctc_model_transcribes(tmp_path: Path) -> None:
    theirs = write_ctc_model(tmp_path / "base", KINDS["HuBERT large"])
    wrapped = write_adapter(tmp_path / "lora", theirs, str(tmp_path / "base"), target_modules=["q_proj", "lm_head"])
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "base")
    clip = waveforms(3, 1.3)[0].numpy()
    with torch.inference_mode():
        ids = wrapped(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).logits[0].argmax(-1)
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "base/vocab.json"))
    [(_, result)] = Transcriber(tmp_path / "lora", dtype="float32").stream([clip])
    assert result.text == " ".join(tokenizer.decode(ids).split())  # type: ignore[union-attr]


@pytest.fixture
def lora(tmp_path: Path, tiny_model: Path) -> Path:
    write_adapter(tmp_path / "lora", transformers_model(1), str(tiny_model), target_modules=["q_proj"])
    return tmp_path / "lora"


def refused(folder: Path, message: str) -> None:
    with pytest.raises(VoxlateError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def edit(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_an_adapter_without_its_base(lora: Path) -> None:
    edit(lora / "adapter_config.json", base_model_name_or_path="someone/gone")
    refused(lora, r"lora is a LoRA adapter of 'someone/gone': model someone/gone is not on this machine .*hf download")
    edit(lora / "adapter_config.json", base_model_name_or_path=None)
    refused(lora, r"adapter_config\.json: base_model_name_or_path is None; expected the model it was trained on")
    edit(lora / "adapter_config.json", base_model_name_or_path=str(lora))
    refused(lora, r"its base .*/lora is an adapter, too")


def test_an_adapter_without_peft(lora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(lora, r"lora is a LoRA adapter of .*, which needs peft: pip install 'voxlate\[lora\]'")


def test_an_adapter_of_another_model(lora: Path, tmp_path: Path, vocabulary: Path) -> None:
    larger = {"hidden_size": 48, "num_hidden_layers": 3, "output_hidden_size": 32}
    other = write_model(tmp_path / "other", vocabulary, transformers_model(1, encoder=larger))
    edit(lora / "adapter_config.json", base_model_name_or_path=str(other))
    refused(
        lora, r"adapter_model\.safetensors: does not fit .*/other, such as '.*layers\.2\..*'; expected the adapter of"
    )
    edit(lora / "adapter_config.json", target_modules=["no_such_layer"])
    refused(lora, r"lora: cannot be merged into its base .*/other \(.*no_such_layer")


@pytest.mark.parametrize("fields", [{"r": 1 << 31}, {"rank_pattern": {"q_proj": 1 << 31}}], ids=["r", "pattern"])
def test_a_rank_larger_than_any_tensor(lora: Path, fields: dict[str, Any]) -> None:
    edit(lora / "adapter_config.json", **fields)
    refused(lora, r"adapter_config\.json: asks for rank 2147483648; expected at most 32, the largest size in adapter_m")


def test_an_adapter_that_changes_no_weights(lora: Path) -> None:
    prompts = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3, "token_dim": 32, "num_layers": 2}
    kept = json.loads((lora / "adapter_config.json").read_text())["base_model_name_or_path"]
    config = {**prompts, "num_attention_heads": 4, "num_transformer_submodules": 1, "task_type": "SEQ_2_SEQ_LM"}
    (lora / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": kept}))
    refused(lora, r"lora: is a PROMPT_TUNING adapter; expected one that can be merged, such as LoRA")


def test_damaged_adapters(lora: Path, tiny_model: Path) -> None:
    weights = lora / "adapter_model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(weights).items()}  # the file is overwritten
    save_file({**tensors, "base_model.model.stray": torch.ones(1)}, weights)
    refused(lora, r"does not fit .*, such as 'base_model\.model\.stray'")
    weights.write_bytes(b"no tensors")
    refused(lora, r"adapter_model\.safetensors: an incomplete safetensors file")
    weights.unlink()
    refused(lora, r"is a LoRA adapter without weights; expected adapter_model\.safetensors or adapter_model\.bin")
    torch.save(tensors, lora / "adapter_model.bin")
    assert load_checkpoint(lora).adapter == lora
    shutil.copy(tiny_model / "model.safetensors", lora)
    refused(lora, "holds a model and a LoRA adapter; expected one of them")
