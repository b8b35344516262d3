"""SeamlessM4T v2: the answers of transformers' class, and folders that both read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import (
    SeamlessM4TFeatureExtractor,
    SeamlessM4TTokenizer,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
    SeamlessM4Tv2Model,
)

from m2m100_models import SEAMLESS_LANGUAGES, TEXTS, write_seamless
from tiny import waveforms
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint, save_checkpoint
from voxlate.checkpoints.new_language import add_language
from voxlate.checkpoints.seamless import read_seamless_config
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.search import search
from voxlate.errors import VoxlateError
from voxlate.models.conformer_adapter import ConformerAdapter
from voxlate.models.cpu.install import install_cpu_path
from voxlate.search_options import SearchOptions

IDS = torch.tensor([[3, 63, 7, 9, 30, 12]])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("seamless")
    return write_seamless(folder), folder


def inputs(seconds: float) -> tuple[dict[str, Any], tuple[Tensor, Tensor]]:
    clip_T = waveforms(7, seconds)[0]
    features = SeamlessM4TFeatureExtractor()(clip_T.numpy(), sampling_rate=16_000, return_tensors="pt")
    return dict(features), collate_waveforms([clip_T], normalize=False)


def logits(model: Any, seconds: float = 1.3) -> Tensor:
    result: Tensor = model(**inputs(seconds)[0], decoder_input_ids=IDS).logits
    return result


@pytest.mark.parametrize("fast", [pytest.param(False, marks=pytest.mark.slow), True])
@torch.inference_mode()
def test_logits_and_ids_equal_those_of_transformers(theirs: tuple[Any, Path], fast: bool) -> None:
    model, folder = theirs
    checkpoint = load_checkpoint(folder)
    assert checkpoint.targets == {"af": 61, "cy": 62, "de": 63, "en": 64, "fr": 65}
    assert checkpoint.model.state_seconds == pytest.approx(0.16)
    if fast:
        install_cpu_path(checkpoint.model)
    found = set()
    for seconds in (0.2, 0.4, 1.3, 2.5):
        features, clip = inputs(seconds)
        expected = logits(model, seconds)
        assert expected.std() > 0.1
        torch.testing.assert_close(checkpoint.model(*clip, IDS), expected, atol=1e-4, rtol=0)
        for beam in (1, 5):
            settings = {"num_beams": beam, "max_length": 20, "max_new_tokens": None, "early_stopping": beam > 1}
            expected_ids = model.generate(**features, tgt_lang="deu", forced_eos_token_id=3, **settings)[0].tolist()
            options = SearchOptions(beam_size=beam, max_length=20, max_repeats=None)
            cache = checkpoint.model.cross_attention_cache(*clip)
            ids = search(checkpoint.model.decoder, cache, [checkpoint.target_id("German")], options)[0][0].ids
            assert [3, *ids] == expected_ids
            found.add(ids)
    if int(transformers.__version__.split(".")[1]) >= 23:  # older releases draw other weights, which end at once
        assert len(found) > 3


def test_folders_are_the_same_for_both(theirs: tuple[Any, Path], tmp_path: Path, caplog: Any) -> None:
    model, folder = theirs
    checkpoint = load_checkpoint(folder)
    save_checkpoint(tmp_path, checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    assert "loads only in Voxlate" not in caplog.text
    back, report = SeamlessM4Tv2ForSpeechToText.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.inference_mode():
        assert torch.equal(logits(back.eval()), logits(model))
        ids = back.generate(**inputs(1.3)[0], tgt_lang="fra", max_length=12)
    assert ids[0, :2].tolist() == [3, 65]
    again = load_checkpoint(tmp_path)
    assert again.targets == checkpoint.targets
    assert again.model.decoder.config == checkpoint.model.decoder.config
    assert again.model.adapter.config == checkpoint.model.adapter.config

    tokenizer = SeamlessM4TTokenizer.from_pretrained(tmp_path, tgt_lang="deu")
    tags = [f"__{name}__" for name in SEAMLESS_LANGUAGES]
    assert tokenizer.convert_tokens_to_ids([*tags, "<pad>", "<unk>", "<s>", "</s>"]) == [*range(61, 66), 0, 1, 2, 3]
    for text in (*TEXTS, "Zug nach   Köln, 7 Uhr"):
        ids = [3, *again.tokenizer.encode_target(text, 63)]
        assert tokenizer(text_target=text)["input_ids"] == ids
        if text in TEXTS:
            assert again.tokenizer.decode(ids) == text == tokenizer.decode(ids, skip_special_tokens=True).strip()


@torch.inference_mode()
def test_the_speech_to_text_part_of_a_complete_model(tmp_path: Path) -> None:
    whole = write_seamless(tmp_path / "whole", model_class=SeamlessM4Tv2Model)
    part = SeamlessM4Tv2ForSpeechToText.from_pretrained(tmp_path / "whole").eval()
    assert len(whole.state_dict()) > len(part.state_dict())
    checkpoint = load_checkpoint(tmp_path / "whole")
    torch.testing.assert_close(checkpoint.model(*inputs(1.3)[1], IDS), logits(part), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_new_language_survives_in_both(theirs: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = theirs
    checkpoint = add_language(load_checkpoint(folder), "sw", init_from="de")
    new = checkpoint.target_id("sw")
    assert new == model.config.vocab_size
    save_checkpoint(tmp_path, checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    again: Checkpoint = load_checkpoint(tmp_path)
    assert again.targets == checkpoint.targets
    back = SeamlessM4Tv2ForSpeechToText.from_pretrained(tmp_path).eval()
    ids = IDS.masked_fill(IDS == 63, new)
    expected = back(**inputs(1.3)[0], decoder_input_ids=ids).logits
    torch.testing.assert_close(again.model(*inputs(1.3)[1], ids), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(expected[..., :new], logits(model), atol=1e-5, rtol=0)
    assert back.generate(**inputs(1.3)[0], tgt_lang="sw", max_length=6)[0, 1] == new


def test_its_encoder_alone(theirs: tuple[Any, Path]) -> None:
    encoder = read_encoder(theirs[1])
    with torch.inference_mode():
        states_BSD, lengths_B = encoder.eval()(*inputs(1.3)[1])  # type: ignore[attr-defined]
    assert states_BSD.shape == (1, int(lengths_B), 32)
    assert not hasattr(encoder, "adapter")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "seamless_m4t"}, "expected 'speech-encoder-decoder' with 'mbart' or 'm2m_100', or 'seamless_"),
        ({"add_adapter": False}, "config.json: add_adapter is False; expected true"),
        ({"decoder_start_token_id": 2}, "decoder_start_token_id is 2; expected eos_token_id 3"),
        ({"position_embeddings_type": "relative"}, "position_embeddings_type: expected 'relative_key'"),
        (
            {"pad_token_id": 1},
            r"<pad> and </s> are 0 and 3, but in the decoder's config 1 and 3; it belongs to another",
        ),
        ({"vocab_size": 120}, "has 66 ids, but the decoder has 120; it belongs to another model"),
        ({"speech_encoder_layers": 3}, "the weights do not fit the config; 32 missing: encoder.model.encoder.layers.2"),
    ],
)
def test_damaged_folders(theirs: tuple[Any, Path], tmp_path: Path, change: dict[str, Any], message: str) -> None:
    for path in theirs[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(VoxlateError, match=message) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_language_tags(theirs: tuple[Any, Path], tmp_path: Path) -> None:
    for path in theirs[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "generation_config.json").write_text("{}")
    with pytest.raises(VoxlateError, match="no language tags from id 61 on; expected text_decoder_lang_to_code_id"):
        load_checkpoint(tmp_path)


def test_the_published_size() -> None:
    """The speech-to-text part of seamless-m4t-v2-large, with the layout of its vocabulary."""
    from voxlate.checkpoints.conversion import adapter_config, decoder_config
    from voxlate.models.m2m100 import M2M100Decoder
    from voxlate.models.w2vbert import Wav2Vec2BertEncoder

    config = SeamlessM4Tv2Config()
    with torch.device("meta"):
        theirs = SeamlessM4Tv2ForSpeechToText(config)
        theirs.tie_weights()  # which older releases of transformers do not do on the meta device
        described = read_seamless_config(config.to_dict(), Path("config.json"), {})
        adapter: Any = adapter_config(described.encoder)
        parts = (
            Wav2Vec2BertEncoder(described.encoder),
            ConformerAdapter(adapter),
            M2M100Decoder(decoder_config(described.decoder)),
        )
    count = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert count == sum(parameter.numel() for parameter in theirs.parameters()) == 1_501_842_240


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing", "ignore::UserWarning:peft")
@pytest.mark.parametrize("names", [["linear_q", "q_proj"], ["lm_head"]], ids=["attention", "output"])
@torch.inference_mode()
def test_a_lora_adapter_of_it(theirs: tuple[Any, Path], tmp_path: Path, names: list[str]) -> None:
    peft = pytest.importorskip("peft")
    network = SeamlessM4Tv2ForSpeechToText.from_pretrained(theirs[1])
    with torch.inference_mode(mode=False), torch.no_grad():
        wrapped = peft.get_peft_model(network, peft.LoraConfig(r=2, target_modules=names)).eval()
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    wrapped.peft_config["default"].base_model_name_or_path = str(theirs[1])
    wrapped.save_pretrained(str(tmp_path), save_embedding_layers=False)
    features, clip = inputs(1.3)
    expected = wrapped(**features, decoder_input_ids=IDS).logits
    assert (expected - logits(theirs[0])).abs().max() > 0.05
    torch.testing.assert_close(load_checkpoint(tmp_path).model(*clip, IDS), expected, atol=1e-4, rtol=1e-4)
