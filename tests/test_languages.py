import pytest

from voxlate.errors import VoxlateError
from voxlate.languages import (
    COVOST2_SOURCES,
    COVOST2_TARGETS,
    LANGUAGES,
    MBART50_TAGS,
    find_language,
)
from voxlate.published_checkpoints import PUBLISHED_TARGETS, default_checkpoint, published_targets


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
        # Languages that mBART-50 lacks, by their names in ISO 639, Common Voice, XLS-R and common use.
        ("bg", "bg"),
        ("Hungarian", "hu"),
        ("lao", "lo"),
        ("ga-IE", "ga"),
        ("hy_AM", "hy"),
        ("pa-IN", "pa"),
        ("nn-NO", "nn"),
        ("jw", "jv"),
        ("Kurmanji", "kmr"),
        ("rm-sursilv", "rm-sursilv"),
        ("rm-CH", "rm"),
        ("nan-TW", "nan-tw"),
        ("yue", "yue"),
        ("yue-Hant-HK", "yue"),
        ("zgh", "zgh"),
        ("sr-Cyrl", "sr"),
        ("Cymraeg", "cy"),
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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Seerbian", r"did you mean sr \(Serbian\)\?"),
        ("Itlian", r"did you mean it \(Italian\)\?"),
        ("xqz", "give a code"),
        ("tlh", "did you mean"),
        ("nan", "did you mean"),  # an empty cell, not Min Nan
    ],
)
def test_typos_and_unknown_codes_do_not_match_rare_languages(name: str, hint: str) -> None:
    with pytest.raises(VoxlateError, match=f"unknown language '{name}'; {hint}"):
        find_language(name)


def test_languages_of_common_voice_and_xls_r_are_known() -> None:
    common_voice = (
        "ab af am ar as ast az ba bas be bg bn br ca ckb cnh cs cv cy da de dv dyu el en eo es et eu fa fi fr fy-NL "
        "ga-IE gl gn ha he hi hsb ht hu hy-AM ia id ig is it ja ka kab kk kmr ko ky lg lij lo lt ltg lv mdf mhr mk ml "
        "mn mr mrj mt myv nan-tw ne-NP nhi nl nn-NO nr nso oc or os pa-IN pl ps pt quy rm-sursilv rm-vallader ro ru "
        "rw sah sat sc sk skr sl sq sr ss st sv-SE sw ta te th ti tig tk tn tok tr ts tt tw ug uk ur uz ve vi vot xh "
        "yi yo yue zgh zh-CN zu zza"
    )
    pretraining = "bo bs ceb fo gv haw jv kn km la lb ln mg mi ms my no ps sa sco sd si sn so su tg tl tpi war"
    for code in (*common_voice.split(), *pretraining.split()):
        assert find_language(code).code in (code, code.split("-")[0])


def test_codes_are_unique_and_find_their_language() -> None:
    assert len({language.code for language in LANGUAGES}) == len(LANGUAGES)
    for language in LANGUAGES:
        assert find_language(language.code) is language
        assert find_language(language.name.upper()) is language


def test_traditional_chinese_is_not_treated_as_simplified() -> None:
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


def test_published_tokens() -> None:
    targets = PUBLISHED_TARGETS["facebook/wav2vec2-xls-r-2b-22-to-16"]
    assert set(targets) == {*COVOST2_TARGETS, "en"}
    # Catalan and Welsh use the tokens of es_XX and fi_FI; according to the cards, Latvian uses the token of my_MM.
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
def test_published_checkpoints_are_recognized_by_id_folder_and_cache(model: str, known: bool) -> None:
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


def test_an_unpublished_target_is_refused() -> None:
    with pytest.raises(
        VoxlateError, match=r"no published XLS-R checkpoint translates into French \(fr\); .* use --model seamless"
    ):
        default_checkpoint("fr")


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            "sw",
            "en",
            r"no published XLS-R checkpoint translates from Swahili \(sw\); published sources are en, fr, de, .*, cy; ",
        ),
        ("Korean", "de", r"no published XLS-R checkpoint translates from Korean \(ko\); published sources are en, fr"),
        ("de", "German", r"the speech is already in German \(de\), .* voxlate transcribe, or name your own model"),
        ("eng", "en", r"the speech is already in English \(en\)"),
    ],
)
def test_an_unpublished_source_is_refused(source: str, target: str, message: str) -> None:
    with pytest.raises(VoxlateError, match=message):
        default_checkpoint(target, source)


@pytest.mark.parametrize("alias", ["ewe", "twi", "zlm"])
def test_three_letter_labels_of_identifiers_are_known(alias: str) -> None:
    assert find_language(alias).code == {"ewe": "ee", "twi": "tw", "zlm": "ms"}[alias]


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("en,de", "en, de"),
        ("de, fr", "de, fr"),
        ("de;fr", "de, fr"),
        ("en de", "en, de"),
        ("de/French", "de, fr"),
        ("en,xx", "en"),
        ("fr+", None),
        ("en-fr-de", None),
        ("nd,", None),
    ],
)
def test_several_languages_are_not_treated_as_a_misspelled_one(name: str, codes: str | None) -> None:
    expected = f"names several languages \\({codes}\\), expected one" if codes else "unknown language"
    with pytest.raises(VoxlateError, match=expected):
        find_language(name)


def test_no_model_is_suggested_for_a_language_that_none_knows() -> None:
    with pytest.raises(VoxlateError, match=r"translates into Afar \(aa\); .*zh, .*; name your own model with --model$"):
        default_checkpoint("aa", "fr")
    with pytest.raises(VoxlateError, match=r"use --model seamless-v2-large, or name your own model with --model$"):
        default_checkpoint("de", "Swahili")
