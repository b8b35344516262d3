"""`voxlate convert`: old checkpoints, and trimmed models that translate as the full one restricted to their pieces."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import SpeechEncoderDecoderModel

from m2m100_models import write_m2m100, write_nllb, write_seamless
from paths import DEMO
from tiny import transformers_model, write_kind, write_model, write_tokenizer_json
from voxlate import SegmentationOptions, Translator
from voxlate.checkpoints.convert import convert
from voxlate.checkpoints.model_folder import listed_directions, load_checkpoint, save_checkpoint
from voxlate.checkpoints.shortlist import find_shortlists, prepare_shortlist
from voxlate.checkpoints.warm_start import start_model
from voxlate.errors import VoxlateError
from voxlate.search_options import SearchOptions

OPTIONS = SearchOptions(beam_size=5, max_length=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model with shortlists for German and French, made from the texts of the demo clips and a few words."""
    folder = tmp_path_factory.mktemp("convert") / "model"
    shutil.copytree(DEMO / "model", folder)
    (folder.parent / "de.txt").write_text("Der Zug kommt um acht Uhr.\nIch brauche Geduld.\n", encoding="utf-8")
    (folder.parent / "fr.txt").write_text("Le train arrive à huit heures.\nMerci.\n", encoding="utf-8")
    for language in ("de", "fr"):
        prepare_shortlist([folder.parent / f"{language}.txt", DEMO / "clips/clips.jsonl"], language, folder)
    return folder


WHOLE = SegmentationOptions("none", coverage_check=False)


def best(translator: Translator, clip: Path, language: str) -> tuple[str, float]:
    [segment] = translator.translate(clip, to=language, options=OPTIONS, segmentation=WHOLE).segments
    return segment.text, round(segment.candidates[0].score, 4)


@pytest.mark.parametrize("languages", [["de"], ["German", "fr"]])
def test_a_trimmed_model_translates_as_the_full_one_restricted_to_its_pieces(
    languages: list[str], model: Path, tmp_path: Path
) -> None:
    said = convert(str(model), tmp_path / "small", languages, None)
    assert re.match(rf"{tmp_path}/small: de[^;]*; \d+ of 1,75\d ids, 4\.\d of 4\.8 million parameters$", said)
    small = Translator(tmp_path / "small")
    codes = [*small.checkpoint.targets]
    assert len(codes) == len(languages)
    full = Translator(shutil.copytree(model, tmp_path / "full"), shortlist=True)
    shortlists = [*find_shortlists(model, full.checkpoint.tokenizer, codes).values()]
    kept = sorted(set().union(*(shortlist.ids for shortlist in shortlists)))
    for code in codes:
        path = tmp_path / "full/shortlists" / f"{code}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"ids": kept}))
    for clip in sorted((DEMO / "clips").glob("*.flac")):
        for code in codes:
            assert best(small, clip, code) == pytest.approx(best(full, clip, code))


def test_the_ctc_head_and_the_vocabulary_are_kept(model: Path, tmp_path: Path) -> None:
    convert(str(model), tmp_path / "small", ["de"], None)
    assert (tmp_path / "small/ctc.safetensors").read_bytes() == (model / "ctc.safetensors").read_bytes()
    small, full = (load_checkpoint(folder).tokenizer for folder in (tmp_path / "small", model))
    text = "Der Zug kommt um acht Uhr."
    assert small.decode(small.encode(text)) == text
    assert len(small.encode(text)) == len(full.encode(text))


def test_the_directions_of_the_kept_languages_are_kept(model: Path, tmp_path: Path) -> None:
    trained = listed_directions(model)
    assert {"en-de", "en-fr"} <= {*trained}
    convert(str(model), tmp_path / "small", ["de"], None)
    assert listed_directions(tmp_path / "small") == [name for name in trained if name.endswith("-de")]
    convert(str(model), tmp_path / "whole", [], None)
    assert listed_directions(tmp_path / "whole") == trained


def test_an_old_checkpoint_is_converted_to_safetensors(vocabulary: Path, tmp_path: Path) -> None:
    theirs = transformers_model(2)
    folder = write_model(tmp_path / "old", vocabulary, theirs)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    convert(str(folder), tmp_path / "new", [], None)
    new: Any = SpeechEncoderDecoderModel.from_pretrained(tmp_path / "new")
    own, old = new.state_dict(), theirs.state_dict()
    assert own.keys() == old.keys()
    assert all(torch.equal(own[name], old[name]) for name in old)
    assert load_checkpoint(tmp_path / "new").targets == load_checkpoint(folder).targets


@pytest.mark.parametrize("as_json", [False, True])
def test_trimmed_ids_keep_their_layout_and_rows(as_json: bool, vocabulary: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", vocabulary, transformers_model(2))
    if as_json:
        write_tokenizer_json(folder / "tokenizer.json", vocabulary)
        (folder / "sentencepiece.bpe.model").unlink()
    (tmp_path / "text.txt").write_text("der zug fährt um sieben uhr\n", encoding="utf-8")
    prepare_shortlist([tmp_path / "text.txt"], "de", folder)
    convert(str(folder), tmp_path / "small", ["de"], None)
    small, full = load_checkpoint(tmp_path / "small"), load_checkpoint(folder)
    assert (
        small.tokenizer.vocabulary_size == small.model.decoder.config.vocabulary_size < full.tokenizer.vocabulary_size
    )
    text = "um sieben uhr fährt der zug"
    ids, before = small.tokenizer.encode(text), full.tokenizer.encode(text)
    assert len(ids) == len(before)
    assert small.tokenizer.decode(ids) == full.tokenizer.decode(before) == text
    rows, old_rows = small.model.decoder.embed_tokens.weight, full.model.decoder.embed_tokens.weight
    pairs = [*zip(ids, before, strict=True), (small.target_id("de"), full.target_id("de")), (2, 2)]
    for index, old in pairs:
        assert torch.equal(rows[index], old_rows[old])


def test_models_that_cannot_be_trimmed(model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        VoxlateError, match=r"shortlists/ca.json does not exist; create it with: voxlate prepare shortlist"
    ):
        convert(str(model), tmp_path / "small", ["ca"], None)
    with pytest.raises(VoxlateError, match=r"does not translate into Welsh \(cy\); it has"):
        convert(str(model), tmp_path / "small", ["cy"], None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with pytest.raises(VoxlateError, match="full: already exists; name a new folder"):
        convert(str(model), tmp_path / "full", ["de"], None)
    assert json.loads((model / "languages.json").read_text())["targets"].keys() >= {"de", "fr"}


@pytest.mark.parametrize("write", [write_nllb, write_m2m100, write_seamless], ids=["NLLB", "M2M-100", "SeamlessM4T"])
def test_a_trimmed_bpe_vocabulary_keeps_what_its_pieces_are_merged_from(write: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder)
    if write is not write_seamless:
        write_kind(tmp_path / "encoder", "w2v-BERT 2.0")
        started = start_model(tmp_path / "encoder", folder)
        save_checkpoint(folder, started.model, started.tokenizer, started.targets)
    text = "the train and the bread"
    (tmp_path / "text.txt").write_text(text + "\n", encoding="utf-8")
    prepare_shortlist([tmp_path / "text.txt"], "en", folder)
    assert "en; " in convert(str(folder), tmp_path / "small", ["en"], None)
    small, full = load_checkpoint(tmp_path / "small"), load_checkpoint(folder)
    assert small.tokenizer.vocabulary_size == small.model.decoder.config.vocabulary_size
    assert small.tokenizer.first_tag_id < full.tokenizer.first_tag_id - 10
    for line in (text, "the bread and the train"):
        ids, before = small.tokenizer.encode(line), full.tokenizer.encode(line)
        assert small.tokenizer.pieces(ids) == full.tokenizer.pieces(before)
        rows, old_rows = small.model.decoder.embed_tokens.weight, full.model.decoder.embed_tokens.weight
        pairs = [*zip(ids, before, strict=True), (small.target_id("en"), full.target_id("en")), (3, 3)]
        assert all(torch.equal(rows[index], old_rows[old]) for index, old in pairs)
