"""`voxlate prepare spoken`: synthetic speech for a parallel text, in CoVoST-2's layout."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preparing import covost2, drops, error_of, lines, run
from voxlate.audio.loading import SAMPLE_RATE_HZ, load_audio
from voxlate.corpora import espeak as espeak_module
from voxlate.corpora.common_voice import escape, unescape
from voxlate.corpora.espeak import Prosody, espeak
from voxlate.corpora.speech_synthesis import VARIANTS, SpeechVariation, add_background, make_prompt
from voxlate.corpora.spoken import SpokenPreparation

TEXT = """id\tsplit\tfr\ten\tde
a\ttrain\tBonjour à tous.\tGood morning, everybody.\tGuten Morgen zusammen.
b\tdev\tOù est la gare ?\tWhere is the station?\tWo ist der Bahnhof?
c\ttest\tJe voudrais deux cafés.\tI would like two coffees.\t
d\ttrain\tIl dit "non" \\ rien.\tThe word is "no" \\ nothing.\tEr sagt "nein".
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.tsv"
    path.write_text(TEXT, encoding="utf-8")
    return path


def spoken(text: Path, output: Path, **options: Any) -> SpokenPreparation:
    return SpokenPreparation(output, **{"text": text, "pairs": ("fr-en,en-de",), **options})


def voices_of(corpus: Path, language: str) -> list[list[str]]:
    table = (corpus / "common_voice" / language / "validated.tsv").read_text(encoding="utf-8")
    return [line.split("\t") for line in table.splitlines()]


def test_prepare_covost2_reads_the_corpus(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, output = tmp_path / "corpus", tmp_path / "out"
    assert run(spoken(text, corpus, pairs=("fr-en", "de-fr"))) == 0
    assert capsys.readouterr().out == "fr-en  train 2  dev 1  test 1\nde-fr  train 2  dev 1\n"
    assert run(covost2(corpus, output, "fr-en", "de-fr")) == 0
    assert {split: count["rows"] for split, count in drops(output / "fr-en").items()} == {
        "train": 2,
        "dev": 1,
        "test": 1,
    }
    assert "official" not in drops(output / "fr-en")["test"]  # CoVoST-2's row counts do not apply to this corpus
    row = lines(output / "fr-en/test.jsonl")[0]
    assert (row["id"], row["source_text"], row["target_text"]) == (
        "fr-en/spoken_fr_c",
        "Je voudrais deux cafés.",
        "I would like two coffees.",
    )
    assert row["speaker"].startswith("fr-fr+")
    assert 1 < row["seconds"] < 5
    # Characters that tab-separated files escape are restored.
    assert lines(output / "fr-en/train.jsonl")[1]["target_text"] == 'The word is "no" \\ nothing.'
    audio = load_audio(corpus / "common_voice/fr/clips/spoken_fr_c.flac")
    assert 10 ** (-24 / 20) - 1e-3 <= np.abs(audio.waveform).max() <= 10 ** (-3 / 20) + 1e-3


def test_a_row_can_be_restricted_to_one_spoken_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.tsv"
    text.write_text(
        "source_language\tfr\ten\tde\nfr\tOui\tYes\tJa\n\tNon\tNo\tNein\nen\tMerci\tThanks\tDanke\nde\tUn\tOne\tEins\n",
        encoding="utf-8",
    )
    assert run(spoken(text, tmp_path / "corpus", pairs=("fr-en", "en-fr", "en-de"))) == 0
    assert capsys.readouterr().out == "fr-en  train 2\nen-fr  train 2\nen-de  train 2\n"
    read = {language: [cells[2] for cells in voices_of(tmp_path / "corpus", language)[1:]] for language in ("fr", "en")}
    assert read == {"fr": ["Oui", "Non"], "en": ["No", "Thanks"]}
    text.write_text("source_language\tfr\ten\nFrench\tOui\tYes\n", encoding="utf-8")
    assert "line 2: source_language 'French' is not a language column" in error_of(
        spoken(text, tmp_path / "other", pairs=("fr-en",))
    )


def test_escaped_cells_are_restored() -> None:
    for cell in ("", "plain", 'a "b" c', "\\", '\\"', "back\\slash", "\ta"):
        assert unescape(escape(cell)) == cell


def test_the_seed_determines_voices_and_prosody(text: Path, tmp_path: Path) -> None:
    for name, options in {"a": {}, "again": {}, "other": {"seed": 2}}.items():
        assert run(spoken(text, tmp_path / name, **options)) == 0
    assert voices_of(tmp_path / "a", "en") == voices_of(tmp_path / "again", "en") != voices_of(tmp_path / "other", "en")
    voices = [voice for voice in espeak().voices if voice.name in ("en-us", "en-gb")]
    drawn = [make_prompt(SpeechVariation(), voices, f"{number}.flac", "Hello.") for number in range(2000)]
    assert {line.voice.name for line in drawn} == {"en-us", "en-gb"}
    assert {line.prosody.variant for line in drawn} == {*VARIANTS}
    assert (min(line.prosody.words_per_minute for line in drawn), max(line.prosody.pitch for line in drawn)) == (
        130,
        70,
    )


def test_clips_do_not_depend_on_earlier_texts_of_a_process(tmp_path: Path) -> None:
    """Nor on the number of processes or an interruption, although espeak-ng keeps its state of noise and flutter."""
    text = tmp_path / "text.tsv"
    text.write_text("en\tfr\n" + "".join(f"It costs {n} euros.\tx\n" for n in range(100)), encoding="utf-8")
    for name, workers in (("one", 1), ("two", 2)):
        assert run(spoken(text, tmp_path / name, pairs=("en-fr",), workers=workers)) == 0
    one, two = (sorted((tmp_path / name).rglob("*.flac")) for name in ("one", "two"))
    assert len(one) == 100
    before = [path.read_bytes() for path in one]
    assert [path.read_bytes() for path in two] == before
    one[70].unlink()
    assert run(spoken(text, tmp_path / "one", pairs=("en-fr",))) == 0
    assert [path.read_bytes() for path in one] == before


def test_the_times_of_words_follow_one_another_to_the_end_of_the_speech() -> None:
    [voice, *_] = [voice for voice in espeak().voices if voice.language == "en"]
    for text in ("I work in Frankfurt, and he is fifty-three.", "Hello. Good morning", "Yes!"):
        waveform_T, words = espeak().speak_words(text, voice, Prosody("", 160, 50))
        assert [word.text for word in words] == text.split()
        assert words[0].start == 0
        assert [word.end for word in words[:-1]] == [word.start for word in words[1:]]
        assert words[-1].end == pytest.approx(len(waveform_T) / SAMPLE_RATE_HZ, abs=0.01)
        assert all(word.end - word.start > 0.05 for word in words)


def test_voices_and_variants_can_be_chosen(text: Path, tmp_path: Path) -> None:
    chosen = {"voices": ("fr-be,en-us",), "variants": ("f1", "m3")}
    assert run(spoken(text, tmp_path / "corpus", **chosen)) == 0
    assert {row[0] for row in voices_of(tmp_path / "corpus", "fr")[1:]} <= {"fr-be+f1", "fr-be+m3"}
    assert {row[0] for row in voices_of(tmp_path / "corpus", "en")[1:]} <= {"en-us+f1", "en-us+m3"}


def test_every_default_variant_exists_and_speaks() -> None:
    assert {*VARIANTS} <= {*espeak().variants}
    [voice] = [voice for voice in espeak().voices if voice.name == "fr-fr"]
    for variant in VARIANTS:
        assert len(espeak().speak("Bonjour à tous.", voice, Prosody(variant))) > SAMPLE_RATE_HZ / 2


@pytest.mark.parametrize("babble", [0.0, 1.0])
def test_the_background_has_the_given_level(babble: float) -> None:
    rng = np.random.default_rng(0)
    speech_T = np.sin(np.arange(32_000) / 7).astype(np.float32)
    others = [np.sin(np.arange(9_000 + 500 * i) / (9 + i)).astype(np.float32) for i in range(6)]
    for _ in range(5):
        reading = SpeechVariation(silence=(0.5, 0.5), snr=(10, 10), volume=(-6, -6), babble=babble)
        clip_T = add_background(speech_T, others, reading, rng)
        assert np.abs(clip_T).max() == pytest.approx(10 ** (-6 / 20), rel=1e-4)
        # The background is the residual after projection onto the known signal.
        core_T = clip_T[8_000:-8_000]
        gain = float(core_T @ speech_T / (speech_T @ speech_T))
        background_T = clip_T - np.pad(gain * speech_T, 8_000)
        snr = 20 * np.log10(gain * np.sqrt(np.mean(speech_T**2)) / np.sqrt(np.mean(background_T**2)))
        assert snr == pytest.approx(10, abs=0.5)


def test_a_single_clip_has_babble_too() -> None:
    speech_T = np.sin(np.arange(16_000) / 7).astype(np.float32)
    clip_T = add_background(speech_T, [], SpeechVariation(babble=1.0, snr=(0, 0)), np.random.default_rng(0))
    assert np.isfinite(clip_T).all()


def test_a_second_run_synthesizes_missing_clips(text: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    clips = corpus / "common_voice/fr/clips"
    run(spoken(text, corpus))
    before = {path: path.stat().st_mtime_ns for path in sorted(corpus.rglob("*.flac"))}
    (corpus / "common_voice/en/clips/spoken_en_b.flac").unlink()
    (clips / ".spoken_fr_a.flac.x.part").write_bytes(b"half")
    assert run(spoken(text, corpus)) == 0
    after = {path: path.stat().st_mtime_ns for path in sorted(corpus.rglob("*.flac"))}
    assert before.keys() == after.keys()
    assert all(after[path] == before[path] for path in before if path.parent == clips)
    assert not list(clips.glob(".*"))


def test_clips_of_other_settings_are_not_mixed(text: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    run(spoken(text, corpus))
    message = f"{corpus} was made with other settings (seed, snr); choose another --output, or use --overwrite"
    other = {"seed": 3, "spans": {"snr": "5:10"}}
    assert error_of(spoken(text, corpus, **other)) == message
    assert run(spoken(text, corpus, **other, overwrite=True)) == 0
    assert json.loads((corpus / "spoken.json").read_text(encoding="utf-8"))["snr"] == [5, 10]


def test_a_text_without_sound_is_reported_and_kept_as_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.tsv"
    text.write_text("id\tfr\ten\tsplit\nx\t…\tnothing\ttest\ny\tOui.\tYes.\ttest\n", encoding="utf-8")
    assert run(spoken(text, tmp_path / "corpus", pairs=("fr-en",))) == 1
    assert "1 texts gave no sound, and have no clip: spoken_fr_x.flac" in capsys.readouterr().err
    assert run(covost2(tmp_path / "corpus", tmp_path / "out")) == 1
    assert [("error" in row, row["target_text"]) for row in lines(tmp_path / "out/fr-en/test.jsonl")] == [
        (True, "nothing"),
        (False, "Yes."),
    ]


def test_all_problems_are_reported_at_once(text: Path, tmp_path: Path) -> None:
    text.write_text(
        TEXT + "a\ttrain\tOui\tYes\tJa\n../x\ttest\tOui\tYes\tJa\ne\teval\tOui\tYes\tJa\n", encoding="utf-8"
    )
    wrong = {
        "pairs": ("fr-en", "english"),
        "voices": ("en-us,nobody",),
        "variants": ("f1,f99",),
        "spans": {"snr": "20:10", "speed": "fast"},
    }
    first, *problems = error_of(spoken(text, tmp_path / "corpus", **wrong)).splitlines()
    assert first == "nothing was prepared:"
    assert (
        problems[0]
        == "  --pairs: 'english' is not a pair of languages; expected pairs such as fr-en, separated by commas"
    )
    assert problems[1] == "  --voices: espeak-ng has no nobody; of these languages it has fr-fr, fr-be, fr-ch"
    assert problems[2].startswith("  --variants: espeak-ng has no f99; it has Alex, Alicia,")
    assert problems[3] == "  --snr 20:10: expected LOW:HIGH, both between -30 and 100"
    assert problems[4] == "  --speed fast: expected LOW:HIGH, both between 80 and 450"
    assert problems[5] == f"  {text}: 3 problems"
    assert problems[6:] == [
        "  line 6: id 'a' occurs twice",
        "  line 7: id '../x' cannot be a file name; use letters, digits, - and _",
        "  line 8: split 'eval'; expected train, dev, test",
    ]
    assert not (tmp_path / "corpus").exists()


def test_rows_are_held_out_by_their_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.tsv"
    held: list[dict[str, str]] = []
    for name, order in (("a", range(12)), ("b", range(11, -1, -1))):
        text.write_text("fr\ten\n" + "".join(f"Oui {i % 10}.\tYes {i % 10}.\n" for i in order), encoding="utf-8")
        assert run(spoken(text, tmp_path / name, pairs=("fr-en",), dev=2, test=3, seed=len(held))) == 0
        assert capsys.readouterr() == ("fr-en  train 7  dev 2  test 3\n", "")
        table = (tmp_path / name / "covost/covost_v2.fr_en.tsv").read_text(encoding="utf-8").splitlines()[1:]
        held.append({cells[1]: cells[2] for cells in (line.split("\t") for line in table)})
        assert len({(cells[1], cells[2]) for cells in (line.split("\t") for line in table)}) == 10  # each in one split
    assert held[0] == held[1]  # whatever the ids and the seed
    assert error_of(spoken(text, tmp_path / "c", pairs=("fr-en",), dev=6, test=6)) == (
        f"{text}: has 12 rows: --dev 6 and --test 6 leave none for train"
    )


def test_empty_splits_are_reported(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has the column split, which conflicts with --dev and --test" in error_of(
        spoken(text, tmp_path / "x", dev=1)
    )
    text.write_text("fr\ten\nOui.\tYes.\n", encoding="utf-8")
    assert run(spoken(text, tmp_path / "corpus", pairs=("fr-en",))) == 0
    assert "fr-en: no rows for dev and test; hold some out with --dev N and --test N" in capsys.readouterr().err


def test_rows_of_no_pair_are_not_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.tsv"
    text.write_text("fr\ten\nOui.\t\nNon.\t\n\tPerhaps.\nBon.\tGood.\nBien.\tWell.\nEh.\tHey.\n", encoding="utf-8")
    assert run(spoken(text, tmp_path / "a", pairs=("fr-en",), dev=1, test=1)) == 0
    assert capsys.readouterr() == ("fr-en  train 1  dev 1  test 1\n", "")
    text.write_text("fr\ten\n" + "Oui.\tYes.\n" * 6, encoding="utf-8")
    assert run(spoken(text, tmp_path / "b", pairs=("fr-en",), dev=2)) == 0
    assert (
        "fr-en: dev has 0 rows of 2: some rows lack a text, or have the same texts as others" in capsys.readouterr().err
    )


def test_damaged_settings_are_reported(text: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for contents in ("", "[]", "{"):
        (tmp_path / "corpus/spoken.json").write_text(contents)
        assert "spoken.json: damaged, so the settings of its clips are unknown; --overwrite" in error_of(
            spoken(text, tmp_path / "corpus")
        )


def test_unavailable_languages(text: Path, tmp_path: Path) -> None:
    assert error_of(spoken(text, tmp_path / "out", pairs=("fr-it",))) == (
        f"{text}: no column it; expected one for each language, got id, split, fr, en, de"
    )
    text.write_text("French\ten\nOui.\tYes.\n", encoding="utf-8")
    assert error_of(spoken(text, tmp_path / "out", pairs=("fr-en",))).endswith(
        "got French, en; rename French to its code"
    )
    assert "does not speak Wolof" in error_of(spoken(text, tmp_path / "out", pairs=("wo-en",)))


def test_the_message_about_missing_espeak_explains_how_to_install_it(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "espeakng_loader":
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(espeak_module, "find_library", lambda _: None)
    espeak.cache_clear()
    try:
        assert error_of(spoken(text, tmp_path / "corpus")) == (
            "espeak-ng is not installed; python3 -m pip install espeakng-loader, or install it with the system's "
            "packages (Debian: apt install espeak-ng)"
        )
    finally:
        espeak.cache_clear()
