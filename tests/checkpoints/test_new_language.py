"""A new target language starts as a copy of another, changes nothing else, and is saved and loaded as usual."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import SpeechEncoderDecoderModel

from tiny import VOCABULARY, transformers_model, waveforms, write_model, write_tokenizer_json
from voxlate.checkpoints.model_folder import Checkpoint, load_checkpoint, save_checkpoint
from voxlate.checkpoints.new_language import add_language
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.search import search
from voxlate.errors import VoxlateError
from voxlate.languages import MBART50_TAGS
from voxlate.search_options import SearchOptions

DE, ES = 51, 53  # ids of de_DE and es_XX in the tiny vocabulary


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, vocabulary: Path) -> Path:
    model = transformers_model(2, decoder={"tie_word_embeddings": request.param})
    written = write_model(tmp_path / "model", vocabulary, model)
    (written / "languages.json").write_text(json.dumps({"targets": {"de": DE, "en": 52}}))
    return written


@torch.inference_mode()
def logits(checkpoint: Checkpoint, *tokens: int) -> torch.Tensor:
    found: torch.Tensor = checkpoint.model(
        *collate_waveforms(waveforms(7, 1.3), normalize=True), torch.tensor([[2, *tokens]])
    )
    return found


def ours(checkpoint: Checkpoint, *codes: str, beam: int = 5) -> list[list[int]]:
    model = checkpoint.model
    with torch.inference_mode():
        memory = model.cross_attention_cache(*collate_waveforms(waveforms(7, 1.3, 0.9)[: len(codes)], normalize=True))
    options = SearchOptions(beam_size=beam, max_length=20, max_repeats=None)
    found = search(model.decoder, memory, [checkpoint.target_id(code) for code in codes], options)
    return [list(hypotheses[0].ids) for hypotheses in found]


def test_a_new_id_changes_nothing_for_the_languages_there_are(folder: Path) -> None:
    before = load_checkpoint(folder)
    after = add_language(before, "Catalan", init_from="German")
    assert after.targets == {"de": DE, "en": 52, "ca": VOCABULARY}
    assert before.targets == {"de": DE, "en": 52}
    assert before.model.decoder.config.vocabulary_size == VOCABULARY
    assert after.model.decoder.config.vocabulary_size == VOCABULARY + 1
    assert not after.model.training
    for tag in (DE, 52):
        assert torch.equal(logits(after, tag, 7, 9, 30)[..., :VOCABULARY], logits(before, tag, 7, 9, 30))


def test_a_new_id_starts_as_a_copy(folder: Path) -> None:
    checkpoint = add_language(load_checkpoint(folder), "ca", init_from="de")
    new = logits(checkpoint, VOCABULARY, 7, 9)
    assert torch.equal(new, logits(checkpoint, DE, 7, 9))
    assert torch.equal(new[..., VOCABULARY], new[..., DE])
    assert not torch.equal(new, logits(checkpoint, 52, 7, 9))
    [catalan, german] = ours(checkpoint, "ca"), ours(checkpoint, "de")
    assert catalan == [[VOCABULARY, *german[0][1:]]]


def test_training_a_new_language_changes_its_own_rows(folder: Path) -> None:
    before = load_checkpoint(folder)
    after = add_language(before, "ca", init_from="de")
    with torch.no_grad():
        after.model.decoder.embed_tokens.weight[VOCABULARY] += 1.0
    german = logits(before, DE, 7)
    assert torch.equal(logits(after, DE, 7)[..., :VOCABULARY], german)
    assert not torch.allclose(logits(after, VOCABULARY, 7)[..., :VOCABULARY], german)
    assert all(parameter.requires_grad for parameter in after.model.parameters())


def with_two_more(folder: Path) -> Checkpoint:
    """Add two languages, and change their rows, which were copies."""
    checkpoint = add_language(add_language(load_checkpoint(folder), "ca", init_from="de"), "yue", init_from="en")
    torch.manual_seed(3)
    with torch.no_grad():
        checkpoint.model.decoder.embed_tokens.weight[VOCABULARY:] += 0.3 * torch.randn(2, 32)
    return checkpoint


def test_new_languages_survive_saving_and_loading(folder: Path, tmp_path: Path) -> None:
    checkpoint = with_two_more(folder)
    save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    again = load_checkpoint(tmp_path / "new")
    assert again.targets == {"de": DE, "en": 52, "ca": VOCABULARY, "yue": VOCABULARY + 1}
    for tag in again.targets.values():
        assert torch.equal(logits(again, tag, 7, 9), logits(checkpoint, tag, 7, 9))
    # The next language gets the id after these, also in the model that was loaded.
    assert add_language(again, "oc", init_from="ca").target_id("oc") == VOCABULARY + 2
    assert load_checkpoint(tmp_path / "new", language_tokens={"oc": VOCABULARY}).target_id("oc") == VOCABULARY


@pytest.mark.parametrize("beam", [1, 5])
def test_transformers_generates_the_same(folder: Path, tmp_path: Path, beam: int) -> None:
    checkpoint = with_two_more(folder)
    save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    theirs, report = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "new", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    theirs.eval().generation_config.forced_bos_token_id = None
    waveform_BT, _ = collate_waveforms(waveforms(7, 1.3), normalize=True)
    for code in ("ca", "yue", "de"):
        expected = theirs.generate(
            input_values=waveform_BT,
            attention_mask=torch.ones_like(waveform_BT).long(),
            decoder_input_ids=torch.tensor([[2, checkpoint.target_id(code)]]),
            num_beams=beam,
            max_length=20,
        )[0].tolist()
        found = ours(checkpoint, code, beam=beam)[0]
        assert len(found) > 5
        assert [2, *found] == expected


def test_new_and_old_languages_share_a_batch(folder: Path) -> None:
    checkpoint = with_two_more(folder)
    assert ours(checkpoint, "yue", "de")[:1] == ours(checkpoint, "yue")


@pytest.mark.parametrize("kind", ["sentencepiece.bpe.model", "tokenizer.json"])
def test_transformers_tokenizer_knows_the_new_ids(tmp_path: Path, vocabulary: Path, kind: str) -> None:
    pytest.importorskip("google.protobuf", reason="transformers reads SentencePiece models with protobuf")
    from transformers import AutoTokenizer, MBart50Tokenizer

    folder = write_model(tmp_path / "model", vocabulary, transformers_model(2))
    if kind == "tokenizer.json":
        write_tokenizer_json(folder / kind, vocabulary)
        (folder / "sentencepiece.bpe.model").unlink()
    (folder / "languages.json").write_text(json.dumps({"targets": {"ca": ES, "en": 52}}))
    # Spanish is added after Catalan took es_XX: its new tag must not be confused with that one.
    checkpoint = add_language(add_language(load_checkpoint(folder), "es", init_from="ca"), "nan-tw", init_from="en")
    save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    text = "the train leaves at seven"
    for theirs in (MBart50Tokenizer.from_pretrained(tmp_path / "new"), AutoTokenizer.from_pretrained(tmp_path / "new")):
        assert len(theirs) == VOCABULARY + 2
        names = ["__es__", "__nan-tw__", "es_XX", "<mask>"]
        assert theirs.convert_tokens_to_ids(names) == [VOCABULARY, VOCABULARY + 1, ES, VOCABULARY - 1]
        for tag_id in checkpoint.targets.values():
            ids = [2, *checkpoint.tokenizer.encode_target(text, tag_id)]
            assert theirs.decode(ids, skip_special_tokens=True).strip() == text
            assert checkpoint.tokenizer.decode(ids) == text


@pytest.mark.parametrize("token", ["es_XX", ES])
def test_a_reused_token(folder: Path, tmp_path: Path, token: str | int) -> None:
    before = load_checkpoint(folder)
    spanish = logits(before, ES, 7, 9)
    after = add_language(before, "ca", init_from="de", token=token)
    assert after.targets == {"de": DE, "en": 52, "ca": ES}
    assert after.model.decoder.config == before.model.decoder.config
    assert torch.equal(logits(after, ES, 7, 9), logits(after, DE, 7, 9))
    assert torch.equal(logits(before, ES, 7, 9), spanish)
    others = [index for index in range(VOCABULARY) if index != ES]
    assert torch.equal(logits(after, DE, 7, 9)[..., others], logits(before, DE, 7, 9)[..., others])
    save_checkpoint(tmp_path / "new", after.model, after.tokenizer, after.targets)
    again = load_checkpoint(tmp_path / "new")
    assert again.targets == after.targets
    assert torch.equal(logits(again, ES, 7, 9), logits(after, ES, 7, 9))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"language": "German", "init_from": "en"},
            r"/model translates into German \(de\) already, with id 51; train it as it is, or add another language",
        ),
        (
            {"language": "ca", "init_from": "es"},
            r"init_from is Spanish \(es\), which .*/model does not translate into; expected one of its targets: de, en",
        ),
        ({"language": "Catlan", "init_from": "de"}, r"unknown language 'Catlan'; did you mean ca \(Catalan\)\?"),
        ({"language": "ca", "init_from": "Germn"}, r"unknown language 'Germn'; did you mean de \(German\)\?"),
        (
            {"language": "ca", "init_from": "en", "token": "de_DE"},
            r"token de_DE for Catalan \(ca\) is in use: .* German \(de\) with it; .* without de in its languages\.json",
        ),
        ({"language": "ca", "init_from": "en", "token": DE}, r"token 51 for Catalan \(ca\) is in use: .*German \(de\)"),
        (
            {"language": "ca", "init_from": "en", "token": "ca_XX"},
            "unknown language tag 'ca_XX'; expected one of ar_AR",
        ),
        (
            {"language": "ca", "init_from": "en", "token": 7},
            r"token 7 for Catalan \(ca\) is not a language tag; expected one such as ar_AR, or an id from 49 to 100",
        ),
        ({"language": "ca", "init_from": "en", "token": VOCABULARY - 1}, "token 101 .* is not a language tag"),
        ({"language": "ca", "init_from": "en", "token": VOCABULARY}, "token 102 .* is not a language tag"),
    ],
)
def test_wrong_arguments_are_errors(folder: Path, arguments: dict[str, Any], message: str) -> None:
    checkpoint = load_checkpoint(folder)
    with pytest.raises(VoxlateError, match=message) as caught:
        add_language(checkpoint, **arguments)
    assert "\n" not in str(caught.value)


def test_ids_without_a_target_language_are_errors(folder: Path, tmp_path: Path) -> None:
    checkpoint = with_two_more(folder)
    with pytest.raises(
        VoxlateError, match=r"/new: no target language has the decoder's id 102; expected one for each added id"
    ):
        save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, {"de": DE, "yue": 103})
    save_checkpoint(tmp_path / "new", checkpoint.model, checkpoint.tokenizer, checkpoint.targets)
    languages = tmp_path / "new" / "languages.json"
    another = r"has 102 ids, but the decoder has 104; it belongs to another model"
    for targets in ({"de": DE, "ca": 102}, {"de": DE, "ca": 103}):
        languages.write_text(json.dumps({"targets": targets}))
        with pytest.raises(VoxlateError, match=another):
            load_checkpoint(tmp_path / "new")
    languages.write_text(json.dumps({"targets": {"ca": 102, "yue": 103, "oc": 104}}))
    with pytest.raises(VoxlateError, match="token 104 of oc is not an id below 104"):
        load_checkpoint(tmp_path / "new")
    languages.unlink()
    with pytest.raises(VoxlateError, match=another):
        load_checkpoint(tmp_path / "new")


def test_a_model_of_every_mbart_language_has_no_free_token_but_a_new_id(tiny_model: Path) -> None:
    checkpoint = load_checkpoint(tiny_model)
    for tag in MBART50_TAGS:
        with pytest.raises(VoxlateError, match=rf"token {tag} for Welsh \(cy\) is in use"):
            add_language(checkpoint, "cy", init_from="en", token=tag)
    assert add_language(checkpoint, "cy", init_from="en").target_id("Welsh") == VOCABULARY
