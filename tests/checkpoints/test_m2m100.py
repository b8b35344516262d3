"""NLLB and M2M-100 as decoders: warm starts with the answers of transformers' modules, tokenizers, new languages."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import M2M100Tokenizer, NllbTokenizer, Wav2Vec2BertConfig, Wav2Vec2BertModel
from transformers.modeling_outputs import BaseModelOutput

from m2m100_models import PIECES, TEXTS, write_m2m100, write_nllb, write_seamless
from model_files import retouch
from random_encoders import batch
from tiny import KINDS, write_kind, write_mbart
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint, save_checkpoint
from voxlate.checkpoints.new_adapter import AdapterSettings
from voxlate.checkpoints.new_language import add_language
from voxlate.checkpoints.shortlist import find_shortlists, prepare_shortlist
from voxlate.checkpoints.warm_start import start_model
from voxlate.decoding.search import search
from voxlate.errors import VoxlateError
from voxlate.models.cpu.install import install_cpu_path
from voxlate.search_options import SearchOptions
from voxlate.tokenizer import Tokenizer
from voxlate.vocabulary_layouts import LAYOUTS, NLLB

WRITERS: dict[str, Callable[[Path], Any]] = {"NLLB": write_nllb, "M2M-100": write_m2m100}
TAGS = {"NLLB": "deu_Latn", "M2M-100": "__de__"}
CONFORMER = AdapterSettings("conformer", kernel=4, stride=4)
TOKENIZERS: dict[str, Any] = {"NLLB": NllbTokenizer, "M2M-100": M2M100Tokenizer}


@pytest.fixture(scope="module", params=sorted(WRITERS))
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """A kind of decoder, the folder of an encoder and such a decoder, and transformers' model of the latter."""
    folder = tmp_path_factory.mktemp("warm")
    write_kind(folder / "encoder", "w2v-BERT 2.0")
    return request.param, folder, WRITERS[request.param](folder / "decoder")


def start(folder: Path) -> Checkpoint:
    torch.manual_seed(1)
    checkpoint = start_model(folder / "encoder", folder / "decoder", adapter=CONFORMER)
    checkpoint.model.eval()
    return checkpoint


def wired_states(folder: Path, checkpoint: Checkpoint, features: torch.Tensor) -> torch.Tensor:
    """Return the states of transformers' encoder with its own adapter, which has the weights of ours."""
    shape = {"add_adapter": True, "adapter_kernel_size": 4, "adapter_stride": 4, "num_adapter_layers": 1}
    theirs = Wav2Vec2BertModel(Wav2Vec2BertConfig(**KINDS["w2v-BERT 2.0"][1] | shape)).eval()
    weights = Wav2Vec2BertModel.from_pretrained(folder / "encoder").state_dict()
    ours = {f"adapter.{name}": tensor for name, tensor in checkpoint.model.adapter.state_dict().items()}  # type: ignore[attr-defined]
    theirs.load_state_dict(weights | ours)
    return theirs(features).last_hidden_state  # type: ignore[no-any-return]


@pytest.mark.parametrize("fast", [False, True])
@torch.inference_mode()
def test_logits_and_ids_equal_those_of_transformers_modules(started: tuple[str, Path, Any], fast: bool) -> None:
    kind, folder, theirs = started
    checkpoint = start(folder)
    tag = checkpoint.target_id("German")
    assert tag == checkpoint.tokenizer.tag_id(TAGS[kind])
    assert len(checkpoint.targets) == {"NLLB": 196, "M2M-100": 100}[kind]
    if fast:
        install_cpu_path(checkpoint.model)
    ids_1T = torch.tensor([[2, tag, 7, 9, 30, 12]])
    found = set()
    for seconds in (0.3, 1.3, 2.5):
        clip = batch(checkpoint.model.encoder, seconds)
        features = checkpoint.model.encoder.mel_features(clip[0][0])[None]  # type: ignore[attr-defined]
        states_1SD = wired_states(folder, checkpoint, features)
        output = BaseModelOutput(last_hidden_state=states_1SD)
        expected = theirs(encoder_outputs=output, decoder_input_ids=ids_1T).logits
        torch.testing.assert_close(checkpoint.model(*clip, ids_1T), expected, atol=1e-4, rtol=0)
        for beam in (1, 5):
            expected_ids = theirs.generate(
                encoder_outputs=output, forced_bos_token_id=tag, forced_eos_token_id=2, num_beams=beam, max_length=16,
                early_stopping=beam > 1,
            )[0].tolist()  # fmt: skip
            options = SearchOptions(beam_size=beam, max_length=16, max_repeats=None)
            cache = checkpoint.model.cross_attention_cache(*clip)
            ids = search(checkpoint.model.decoder, cache, [tag], options)[0][0].ids
            assert [2, *ids] == expected_ids
            found.add(ids)
    assert len(found) > 2


def test_tokenizers_equal_those_of_transformers(started: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, _ = started
    checkpoint = start(folder)
    save_checkpoint(tmp_path, checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    ours = load_checkpoint(tmp_path).tokenizer
    theirs = TOKENIZERS[kind].from_pretrained(tmp_path, tgt_lang=TAGS[kind].strip("_"))
    assert theirs.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
    assert theirs.convert_tokens_to_ids([*ours.tags]) == [ours.tag_id(tag) for tag in ours.tags]
    for text in (*TEXTS, "Zug nach   Köln, 7 Uhr", "z"):
        ids = ours.encode_target(text, ours.tag_id(TAGS[kind]))
        assert theirs(text_target=text)["input_ids"] == ids
        if text in TEXTS and ours.unk_id not in ids:
            # M2M-100's tokenizer does not count its tags among the special tokens.
            assert ours.decode(ids) == text == theirs.decode(ids[1:], skip_special_tokens=True).strip()
    assert any(ours.unk_id in ours.encode(text) for text in TEXTS) == (kind == "M2M-100")  # a piece without an id
    if kind == "NLLB":
        assert theirs.convert_tokens_to_ids("<mask>") == PIECES + 1 + 202
        theirs.save_pretrained(tmp_path / "saved")  # only tokenizer.json
        stored = Tokenizer(tmp_path / "saved/tokenizer.json", NLLB)
        assert stored.first_tag_id == ours.first_tag_id
        assert [stored.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]
        assert stored.decode(stored.encode(TEXTS[3])) == TEXTS[3]


def test_a_folder_that_only_voxlate_loads(started: tuple[str, Path, Any], tmp_path: Path, caplog: Any) -> None:
    _, folder, _ = started
    checkpoint = start(folder)
    save_checkpoint(tmp_path, checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    assert "loads only in Voxlate: transformers has no m2m_100 decoder for a SpeechEncoderDecoderModel" in caplog.text
    again = load_checkpoint(tmp_path)
    assert again.targets == checkpoint.targets
    assert again.tokenizer.vocabulary_size == checkpoint.model.decoder.config.vocabulary_size
    clip, ids_1T = batch(again.model.encoder, 1.3), torch.tensor([[2, 70, 7, 9]])
    with torch.inference_mode():
        torch.testing.assert_close(again.model(*clip, ids_1T), checkpoint.model(*clip, ids_1T))
    save_checkpoint(tmp_path / "again", again.model, again.tokenizer, again.targets)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json", "languages.json"):
        assert (tmp_path / name).read_text() == (tmp_path / "again" / name).read_text()


def test_a_new_language_and_a_reused_tag(started: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, theirs = started
    before = start(folder)
    size = theirs.config.vocab_size
    after = add_language(before, "cnh", init_from="de")
    assert after.target_id("Hakha Chin") == size
    save_checkpoint(tmp_path, after.model, after.tokenizer, after.targets)
    again = load_checkpoint(tmp_path)
    assert again.targets == after.targets
    tokenizer = TOKENIZERS[kind].from_pretrained(tmp_path)
    assert tokenizer.convert_tokens_to_ids("__cnh__") == size
    rows = again.model.decoder.embed_tokens.weight
    assert torch.equal(rows[size], rows[again.target_id("de")])
    with pytest.raises(VoxlateError, match=f"token {TAGS[kind]} for Hakha Chin .* is in use"):
        add_language(before, "cnh", init_from="en", token=TAGS[kind])


def test_shortlists(started: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, _ = started
    (tmp_path / "text.txt").write_text("der zug fährt\n", encoding="utf-8")
    prepare_shortlist([tmp_path / "text.txt"], "de", folder / "decoder")
    tokenizer = start(folder).tokenizer
    ids = {*find_shortlists(folder / "decoder", tokenizer, ["de"])["de"].ids}
    assert {*tokenizer.encode("der zug fährt"), tokenizer.tag_id(TAGS[kind]), 0, 1, 2, 3} <= ids
    assert len(ids) < tokenizer.vocabulary_size - 10


def test_the_layout_is_that_of_the_decoder_without_a_tokenizer_config(started: tuple[str, Path, Any]) -> None:
    _, folder, _ = started
    path = folder / "decoder/tokenizer_config.json"
    before = path.read_text()
    path.unlink()
    try:
        layout = start(folder).tokenizer.layout
    finally:
        path.write_text(before)
    assert layout == LAYOUTS[json.loads(before)["tokenizer_class"]]


def test_old_checkpoints_store_their_sinusoids(started: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, _ = started
    WRITERS[kind](tmp_path / "decoder")
    write_kind(tmp_path / "encoder", "w2v-BERT 2.0")
    table = torch.zeros(66, 32)
    parts = ("encoder", "decoder")
    retouch(
        tmp_path / "decoder",
        lambda tensors: tensors | {f"model.{part}.embed_positions.weights": table.clone() for part in parts},
        as_bin=True,
    )
    torch.testing.assert_close(start(tmp_path).model.decoder.state_dict(), start(folder).model.decoder.state_dict())


def test_any_model_gives_its_encoder_or_decoder(tmp_path: Path, vocabulary: Path, caplog: Any) -> None:
    write_seamless(tmp_path / "seamless")
    write_mbart(tmp_path / "mbart", vocabulary)
    write_kind(tmp_path / "hubert", "HuBERT large")
    first = start_model(tmp_path / "seamless", tmp_path / "mbart")
    save_checkpoint(tmp_path / "first", first.model, first.tokenizer, first.targets)
    assert "transformers has no encoder of SeamlessM4T for a SpeechEncoderDecoderModel" in caplog.text
    assert load_checkpoint(tmp_path / "first").model.encoder.chunks == {"chunk_frames": 20, "left_chunks": 1}  # type: ignore[attr-defined]
    second = start_model(tmp_path / "hubert", tmp_path / "seamless", adapter=CONFORMER)
    assert second.tokenizer.eos_id == second.model.decoder.config.eos_id == 3
    save_checkpoint(tmp_path / "second", second.model, second.tokenizer, second.targets)
    again = load_checkpoint(tmp_path / "second")
    assert again.targets == second.targets == {"af": 61, "cy": 62, "de": 63, "en": 64, "fr": 65}
    clip, ids_1T = batch(again.model.encoder, 0.7), torch.tensor([[3, 63, 7, 9]])
    with torch.inference_mode():
        torch.testing.assert_close(again.model(*clip, ids_1T), second.model.eval()(*clip, ids_1T))
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert/config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(VoxlateError, match=r"bert: a 'bert' model, expected 'mbart' or 'm2m_100'"):
        start_model(tmp_path / "hubert", tmp_path / "bert")


def test_damaged_dictionaries(tmp_path: Path) -> None:
    write_m2m100(tmp_path)
    path = tmp_path / "vocab.json"
    names = json.loads(path.read_text())
    for changed, message in (
        ({**names, "<s>": 1}, "the ids of its pieces are not 0 to"),
        ({"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}, r"vocab.json: ids begin with \['a', 'b', 'c', 'd'\], expected <s>"),
        ({"a": "b"}, "vocab.json: its vocabulary is .*; expected ids by piece"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(VoxlateError, match=message):
            Tokenizer(tmp_path / "sentencepiece.bpe.model", LAYOUTS["M2M100Tokenizer"])
    path.unlink()
    with pytest.raises(VoxlateError, match=r"no vocab.json; expected the ids of M2M-100's pieces"):
        Tokenizer(tmp_path / "sentencepiece.bpe.model", LAYOUTS["M2M100Tokenizer"])
