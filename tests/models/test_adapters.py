"""Contract of every length adapter, alone and between every encoder and decoder: no influence of padding."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MBartConfig, SpeechEncoderDecoderConfig, SpeechEncoderDecoderModel, Wav2Vec2BertConfig

from random_encoders import batch, build
from tiny import KINDS, VOCABULARY
from voxlate.checkpoints.conversion import adapter_class
from voxlate.checkpoints.model_folder import load_checkpoint, save_checkpoint
from voxlate.checkpoints.new_adapter import AdapterSettings, new_adapter_config
from voxlate.errors import VoxlateError
from voxlate.models import ADAPTERS, DECODERS
from voxlate.models.cpu.install import install_cpu_path
from voxlate.models.decoder import DecoderConfig
from voxlate.models.speech_translator import SpeechTranslator
from voxlate.registry import resolve
from voxlate.tokenizer import Tokenizer
from voxlate.vocabulary_layouts import MBART50, NLLB

SEAMLESS = ("wav2vec2-bert", KINDS["w2v-BERT 2.0"][1] | {
    "use_intermediate_ffn_before_adapter": True, "add_adapter": True,
    "voxlate_seamless": {"chunk_frames": 16, "left_chunks": 1},
}, False)  # fmt: skip
ENCODERS: dict[str, tuple[str, dict[str, Any], bool]] = {**KINDS, "SeamlessM4T v2": SEAMLESS}
SECONDS = (1.03, 0.31, 2.5, 0.02)  # one of them shorter than a frame
WIDTHS = {"as wide": 32, "wider": 48}


def make(encoder: str, adapter: str, decoder: str, width: int = 32, **sizes: int) -> SpeechTranslator:
    """Return a random model whose states differ in time."""
    speech = build(ENCODERS[encoder])
    torch.manual_seed(1)
    config = new_adapter_config(AdapterSettings(adapter, **sizes), speech, width)
    shape = DecoderConfig(300, width, 2, 4, 48, max_positions=40)
    model = SpeechTranslator(speech, adapter_class(config)(config), resolve(DECODERS, decoder, "text decoder")(shape))
    return model.eval()


@pytest.mark.parametrize(
    ("encoder", "adapter", "decoder"), [*product(sorted(ENCODERS), sorted(ADAPTERS), sorted(DECODERS))]
)
@torch.inference_mode()
def test_results_do_not_depend_on_the_batch_or_its_padding(encoder: str, adapter: str, decoder: str) -> None:
    model = make(encoder, adapter, decoder)
    ids_BT = torch.tensor([[2, 53, 7, 9, 30]] * len(SECONDS))
    waveform_BT, lengths_B = batch(model.encoder, *SECONDS)
    states_BSD, states_B = model.encode(waveform_BT, lengths_B)
    expected = model(waveform_BT, lengths_B, ids_BT)
    for index in range(len(SECONDS)):
        clip_1T, length_1 = waveform_BT[index : index + 1, : lengths_B[index]], lengths_B[index : index + 1]
        alone, length = model.encode(clip_1T, length_1)
        assert int(length) == int(states_B[index]) == alone.shape[1]
        torch.testing.assert_close(states_BSD[index, : int(length)], alone[0], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(model(clip_1T, length_1, ids_BT[:1])[0], expected[index], atol=2e-4, rtol=1e-4)
        waveform_BT[index, lengths_B[index] :] = torch.nan
    torch.testing.assert_close(model(waveform_BT, lengths_B, ids_BT), expected, atol=0, rtol=0)
    install_cpu_path(model)
    torch.testing.assert_close(model(waveform_BT, lengths_B, ids_BT), expected, atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("sizes", [(1, 8, 8), (2, 3, 2), (1, 5, 4)], ids=str)
@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_lengths_and_gradients(kind: str, sizes: tuple[int, int, int], width: int) -> None:
    model = make("w2v-BERT 2.0", kind, "mbart", width, layers=sizes[0], kernel=sizes[1], stride=sizes[2])
    states_BSD, lengths_B = torch.randn(3, 41, 32), torch.tensor([41, 13, 1])
    expected, shorter_B = model.adapter(states_BSD, lengths_B)
    assert expected.shape[1] == int(shorter_B[0])
    assert shorter_B.tolist()[2] == 1
    assert int(shorter_B[0]) in (41 // model.adapter.config.stride ** sizes[0] + extra for extra in (0, 1))
    states_BSD[1, 13:], states_BSD[2, 1:] = torch.nan, torch.nan
    states_BSD.requires_grad_()
    found: Any = model.adapter(states_BSD, lengths_B)[0]
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    found.square().sum().backward()
    weights: Any = model.adapter
    assert all(part.grad is not None and part.grad.isfinite().all() for part in weights.parameters())


OWN: dict[str, dict[str, Any]] = {
    "one layer": {"adapter_kernel_size": 8, "adapter_stride": 8, "num_adapter_layers": 1},
    "three layers": {"num_adapter_layers": 3},
    "another width": {"output_hidden_size": 48, "num_adapter_layers": 2},
    "with a network before it": {"use_intermediate_ffn_before_adapter": True, "adapter_act": "gelu"},
}


@pytest.mark.parametrize("fields", OWN.values(), ids=OWN.keys())
@torch.inference_mode()
def test_w2v_bert_with_its_own_adapter(fields: dict[str, Any], vocabulary: Path, tmp_path: Path, caplog: Any) -> None:
    torch.manual_seed(2)
    encoder = Wav2Vec2BertConfig(**KINDS["w2v-BERT 2.0"][1] | {"add_adapter": True} | fields)
    width = fields.get("output_hidden_size", 32)
    decoder = MBartConfig(vocab_size=VOCABULARY, d_model=width, decoder_layers=2, decoder_attention_heads=4,
                          decoder_ffn_dim=48, max_position_embeddings=64, init_std=0.2)  # fmt: skip
    config = SpeechEncoderDecoderConfig(
        encoder=encoder.to_dict(), decoder=decoder.to_dict() | {"is_decoder": True, "add_cross_attention": True}
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 1, 2
    theirs: Any = SpeechEncoderDecoderModel(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs/sentencepiece.bpe.model").write_bytes(vocabulary.read_bytes())
    checkpoint = load_checkpoint(tmp_path / "theirs")
    save_checkpoint(tmp_path / "ours", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    assert "loads only in Voxlate" not in caplog.text
    back: Any = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "ours").eval()
    again = load_checkpoint(tmp_path / "ours")
    assert again.model.adapter.config == checkpoint.model.adapter.config
    ids_1T = torch.tensor([[2, 53, 7, 9, 30]])
    for seconds in (0.4, 2.5):
        waveform_1T, length_1 = batch(checkpoint.model.encoder, seconds)
        network: Any = checkpoint.model.encoder
        features = network.mel_features(waveform_1T[0])[None]
        expected = theirs(input_features=features, decoder_input_ids=ids_1T).logits
        assert torch.equal(back(input_features=features, decoder_input_ids=ids_1T).logits, expected)
        for model in (checkpoint.model, again.model):
            torch.testing.assert_close(model(waveform_1T, length_1, ids_1T), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("encoder", ["w2v-BERT 2.0", "WavLM large", "SeamlessM4T v2"])
@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_a_folder_holds_every_combination(
    encoder: str, adapter: str, decoder: str, vocabulary: Path, tmp_path: Path, caplog: Any
) -> None:
    model = make(encoder, adapter, decoder)
    tokenizer = Tokenizer(vocabulary, MBART50 if decoder == "mbart" else NLLB)
    model.decoder = resolve(DECODERS, decoder, "text decoder")(
        DecoderConfig(tokenizer.vocabulary_size, 32, 2, 4, 48, max_positions=40)
    ).eval()
    targets = {"de": tokenizer.target_ids()["de"]}
    save_checkpoint(tmp_path, model, tokenizer, targets)
    known = {
        ("w2v-BERT 2.0", "conformer", "mbart"),
        ("WavLM large", "strided", "mbart"),
        ("SeamlessM4T v2", "conformer", "m2m_100"),
    }
    assert ("loads only in Voxlate: transformers has no " in caplog.text) != ((encoder, adapter, decoder) in known)
    loaded = load_checkpoint(tmp_path)
    assert loaded.targets == targets
    assert loaded.tokenizer.layout == tokenizer.layout
    assert (type(loaded.model.adapter), type(loaded.model.decoder)) == (type(model.adapter), type(model.decoder))
    waveform_BT, lengths_B = batch(model.encoder, 0.7, 1.3)
    ids_BT = torch.tensor([[2, targets["de"], 5, 6]] * 2)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(waveform_BT, lengths_B, ids_BT), model(waveform_BT, lengths_B, ids_BT))


def test_unknown_adapters_are_named(vocabulary: Path, tmp_path: Path) -> None:
    speech = build(KINDS["w2v-BERT 2.0"])
    with pytest.raises(VoxlateError, match="unknown adapter 'conformers'; did you mean 'conformer'"):
        new_adapter_config(AdapterSettings("conformers"), speech, 32)
    with pytest.raises(VoxlateError, match="the decoder's width 30 is not a multiple of the encoder's 4 heads"):
        new_adapter_config(AdapterSettings("conformer"), speech, 30)
    model = make("WavLM large", "conformer", "mbart")
    tokenizer = Tokenizer(vocabulary)
    model.decoder = resolve(DECODERS, "mbart", "")(DecoderConfig(VOCABULARY, 32, 2, 4, 48)).eval()
    save_checkpoint(tmp_path, model, tokenizer, tokenizer.target_ids())
    config = json.loads((tmp_path / "config.json").read_text())
    config["encoder"]["voxlate_adapter"]["kind"] = "linear"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(VoxlateError, match="unknown kind of adapter 'linear'; known: conformer, strided"):
        load_checkpoint(tmp_path)
