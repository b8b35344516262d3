from pathlib import Path

import pytest
import tokenizers

from tiny import PIECES, VOCABULARY, write_tokenizer_json
from voxlate.errors import VoxlateError
from voxlate.tokenizer import EOS_ID, UNK_ID, Tokenizer
from voxlate.vocabulary_layouts import MBART50


@pytest.fixture(scope="module")
def real(shared: Path) -> Tokenizer:
    return Tokenizer(shared / "xlmr-sentencepiece" / "sentencepiece.bpe.model")


@pytest.fixture(scope="module")
def small(vocabulary: Path) -> Tokenizer:
    return Tokenizer(vocabulary)


# Ids published with transformers' own tests of mBART-50.
SYRIA = "UN Chief Says There Is No Military Solution in Syria"
SYRIA_IDS = [8274, 127873, 25916, 7, 8622, 2071, 438, 67485, 53, 187895, 23, 51712]


def test_mbart50_ids(real: Tokenizer) -> None:
    assert real.encode(SYRIA) == SYRIA_IDS
    assert real.decode(SYRIA_IDS) == SYRIA
    assert {tag: real.tag_id(tag) for tag in ("en_XX", "ar_AR", "ro_RO", "sl_SI")} == {
        "en_XX": 250_004,
        "ar_AR": 250_001,
        "ro_RO": 250_020,
        "sl_SI": 250_052,
    }
    assert real.vocabulary_size == 250_054


def test_a_target_is_the_tag_the_pieces_and_the_end_token(real: Tokenizer) -> None:
    assert real.encode_target(SYRIA, 250_004) == [250_004, *SYRIA_IDS, EOS_ID]
    assert real.decode([EOS_ID, *real.encode_target(SYRIA, 250_004), 250_053]) == SYRIA


@pytest.mark.parametrize("text", [f"{SYRIA} ", f" {SYRIA}\n", SYRIA.replace(" ", "  "), SYRIA.replace(" ", "\t")])
def test_extra_white_space_adds_no_pieces(real: Tokenizer, text: str) -> None:
    assert real.encode(text) == SYRIA_IDS


def test_text_is_normalized_as_in_training(real: Tokenizer) -> None:
    assert real.encode("Ｈｅｌｌｏ ①") == real.encode("Hello 1")
    assert real.encode("cafe\u0301") == real.encode("café")


def test_special_tokens_in_a_text_are_treated_as_text(real: Tokenizer) -> None:
    ids = real.encode("</s> en_XX <mask>")
    assert max(ids) < 250_001
    assert EOS_ID not in ids
    assert real.decode(ids) == "</s> en_XX <mask>"


def test_unknown_characters_become_unk_and_not_pad(small: Tokenizer) -> None:
    ids = small.encode("the ☃ train")
    assert UNK_ID in ids
    assert 1 not in ids
    assert small.decode(ids).replace("  ", " ") == "the train"


def test_the_tags_of_a_small_vocabulary_follow_its_pieces(small: Tokenizer) -> None:
    assert small.vocabulary_size == VOCABULARY
    assert small.tag_id("ar_AR") == PIECES + 1
    assert small.tag_id("sl_SI") == PIECES + 52
    assert small.decode(small.encode("the train leaves at seven")) == "the train leaves at seven"


def test_custom_tags(vocabulary: Path) -> None:
    tokenizer = Tokenizer(vocabulary, MBART50.with_tags(("en_XX", "ca_ES")))
    assert tokenizer.tag_id("ca_ES") == PIECES + 2
    assert tokenizer.vocabulary_size == PIECES + 4
    with pytest.raises(VoxlateError, match="unknown language tag 'de_DE'; expected one of en_XX, ca_ES"):
        tokenizer.tag_id("de_DE")


def test_a_tokenizer_json_of_transformers_is_equivalent(small: Tokenizer, vocabulary: Path, tmp_path: Path) -> None:
    other = Tokenizer(write_tokenizer_json(tmp_path / "tokenizer.json", vocabulary))
    assert other.vocabulary_size == small.vocabulary_size
    assert [other.tag_id(tag) for tag in other.tags] == [small.tag_id(tag) for tag in small.tags]
    for text in ("the train leaves at seven", " how  much\tdoes it cost ", "der Zug ☃ fährt", "Ｈow", "</s> en_XX", ""):
        assert other.encode(text) == small.encode(text)
        assert other.decode(small.encode(text)) == small.decode(small.encode(text))


def test_a_tokenizer_json_with_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(VoxlateError, match=r"tokenizer\.json: not a unigram tokenizer \(model.vocab is not a list\)"):
        Tokenizer(path)
    tokenizers.Tokenizer(tokenizers.models.Unigram([("a", 0.0), ("b", 0.0)], unk_id=0)).save(str(path))
    with pytest.raises(VoxlateError, match=r"ids begin with \['a', 'b'\], expected mBART-50's layout"):
        Tokenizer(path)


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sentencepiece.bpe.model"
    path.write_text("no vocabulary")
    with pytest.raises(VoxlateError, match=r"sentencepiece\.bpe\.model: not a SentencePiece model"):
        Tokenizer(path)


def test_a_vocabulary_with_another_layout_is_refused(tmp_path: Path) -> None:
    import sentencepiece

    path = tmp_path / "odd.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d e f g"]), model_writer=file, vocab_size=20, pad_id=0, unk_id=3,
            hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    with pytest.raises(VoxlateError, match=r"pieces begin with .* expected <unk>, <s>, </s>"):
        Tokenizer(path)
