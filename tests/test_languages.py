import pytest

from voxlate.errors import VoxlateError
from voxlate.languages import (
    COVOST2_SOURCES,
    COVOST2_TARGETS,
    LANGUAGES,
    MBART50_TAGS,
    PUBLISHED_TARGETS,
    default_checkpoint,
    find_language,
    published_targets,
)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("de", "de"),
        ("German", "de"),
        ("deutsch", "de"),
        ("DEU", "de"),
        ("de_DE", "de"),
        ("zh-CN", "zh"),
        ("zho", "zh"),
        ("cmn", "zh"),
        ("Chinese", "zh"),
        ("sv-SE", "sv"),
        ("pt-BR", "pt"),
        ("es-419", "es"),
        ("sr-Latn", None),
        ("ca", "ca"),
        ("Welsh", "cy"),
        (" English ", "en"),
        ("Farsi", "fa"),
    ],
)
def test_names_of_languages(name: str, code: str | None) -> None:
    if code is None:
        with pytest.raises(VoxlateError, match="unknown language"):
            find_language(name)
    else:
        assert find_language(name).code == code


def test_unknown_language_suggests() -> None:
    with pytest.raises(VoxlateError, match=r"unknown language 'Germn'; did you mean de \(German\)\?"):
        find_language("Germn")
    with pytest.raises(VoxlateError, match=r"unknown language 'qqqqqq'; give a code"):
        find_language("qqqqqq")


def test_traditional_chinese_is_not_taken_for_simplified() -> None:
    with pytest.raises(VoxlateError, match="zh-TW"):
        find_language("zh-TW")


def test_every_alias_belongs_to_one_language() -> None:
    names = [
        name.lower().replace("_", "-")
        for language in LANGUAGES
        for name in {language.code, language.name, language.mbart_tag or language.code, *language.aliases}
    ]
    assert len(names) == len(set(names))


def test_mbart_tags_are_in_the_order_of_their_ids() -> None:
    assert len(MBART50_TAGS) == 52
    known = {"ar_AR": 1, "en_XX": 4, "ro_RO": 20, "zh_CN": 25, "fa_IR": 29, "mn_MN": 37, "sv_SE": 42, "sl_SI": 52}
    assert {tag: MBART50_TAGS.index(tag) + 1 for tag in known} == known


def test_covost2_has_21_sources_and_15_targets() -> None:
    assert len(set(COVOST2_SOURCES)) == 21
    assert len(set(COVOST2_TARGETS)) == 15
    assert {find_language(code).code for code in (*COVOST2_SOURCES, *COVOST2_TARGETS)} <= {
        language.code for language in LANGUAGES
    }


def test_published_slots() -> None:
    targets = PUBLISHED_TARGETS["facebook/wav2vec2-xls-r-2b-22-to-16"]
    assert set(targets) == {*COVOST2_TARGETS, "en"}
    # Catalan and Welsh borrow the slots of es_XX and fi_FI; Latvian's is my_MM's on the cards.
    assert [MBART50_TAGS[targets[code] - 250_001] for code in ("ca", "cy", "lv")] == ["es_XX", "fi_FI", "my_MM"]
    others = {code: index for code, index in targets.items() if code not in ("ca", "cy", "lv")}
    assert {code: MBART50_TAGS[index - 250_001] for code, index in others.items()} == {
        code: find_language(code).mbart_tag for code in others
    }


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("facebook/wav2vec2-xls-r-300m-en-to-15", True),
        ("/models/wav2vec2-xls-r-1b-en-to-15/", True),
        ("/cache/models--facebook--wav2vec2-xls-r-300m-en-to-15/snapshots/abc", True),
        ("/models/mine", False),
        ("me/wav2vec2-xls-r-300m-en-to-15-finetuned", False),
    ],
)
def test_published_checkpoints_are_known_by_id_folder_and_cache(model: str, known: bool) -> None:
    assert (published_targets(model) is not None) == known


@pytest.mark.parametrize(
    ("source", "target", "checkpoint"),
    [
        (None, "en", "300m-21-to-en"),
        ("French", "en", "300m-21-to-en"),
        (None, "German", "300m-en-to-15"),
        ("en", "ca", "300m-en-to-15"),
        ("fr", "de", "2b-22-to-16"),
    ],
)
def test_default_checkpoint_fits_the_direction(source: str | None, target: str, checkpoint: str) -> None:
    assert default_checkpoint(target, source) == f"facebook/wav2vec2-xls-r-{checkpoint}"


def test_no_checkpoint_for_a_target_that_none_has() -> None:
    with pytest.raises(VoxlateError, match=r"no published checkpoint translates into French \(fr\); .* --model"):
        default_checkpoint("fr")
