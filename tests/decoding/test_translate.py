"""``voxlate translate``: real speech, results on standard output."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import film, sine, write_media
from tiny import transformers_model, write_model
from translate_command import assert_refused, messages, translate
from voxlate import AudioError, SearchOptions, Translator
from voxlate.decoding.results import Translation


def answers(probe: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (probe / "clips.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize(("beam", "key"), [(1, "transformers_greedy"), (5, "transformers_beam5")])
@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
def test_translations_match_transformers(probe: Path, language: str, beam: int, key: str, batch_size: int) -> None:
    result = translate(
        probe / "clips", "--model", probe, "--to", language, "--beam-size", beam, "--batch-size", batch_size
    )
    assert result.exit_code == 0
    results = dict(line.split("\t") for line in result.stdout.splitlines())
    assert len(results) == 30
    expected = {
        str(probe / row["audio"]): row[key]["text"] for row in answers(probe) if row["target_language"] == language
    }
    assert len(expected) >= 5
    assert {path: results[path] for path in expected} == expected


def test_python_and_the_command_line_give_the_same_texts(probe: Path) -> None:
    translator = Translator(probe)
    rows = answers(probe)
    paths, targets = [probe / row["audio"] for row in rows], [row["target_language"] for row in rows]
    results = dict(translator.stream(paths, to=targets, options=SearchOptions(max_length=48)))
    texts = [result.text for _, result in sorted(results.items()) if not isinstance(result, AudioError)]
    assert texts == [row["transformers_beam5"]["text"] for row in rows]
    assert translator.translate(paths[0], to=targets[0]).text == texts[0]


def test_one_input_prints_only_its_text(tiny_model: Path, clips: Path) -> None:
    result = translate(clips / "0.wav", "--model", tiny_model, "--to", "de")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1
    assert "\t" not in result.stdout
    assert messages(result) == ""


def test_several_inputs_are_printed_in_their_order(tiny_model: Path, clips: Path) -> None:
    names = [str(clips / f"{number}.wav") for number in (2, 0, 1)]
    result = translate(*names, "--model", tiny_model, "--to", "German", "--from", "fr")
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == names
    assert len({line.split("\t")[1] for line in result.stdout.splitlines()}) == 3
    assert "3 translated, 0 failed" in result.stderr


def test_json_on_standard_output(tiny_model: Path, clips: Path) -> None:
    one = json.loads(
        translate(clips / "0.wav", "--model", tiny_model, "--to", "de", "--format", "json", "--n-best", 3).stdout
    )
    assert len(one["segments"][0]["candidates"]) == 3
    assert one["segments"][0]["end"] == 1.0
    recipe = one["recipe"]
    assert (recipe["search_beam"], recipe["dtype"], recipe["device"]) == (5, "float32", "cpu")
    assert len(recipe["weights_sha256"]) == 64
    assert recipe["audio_decoder"]["pyav"]
    lines = translate(
        clips, "--model", tiny_model, "--to", "de", "--from", "French", "--format", "json"
    ).stdout.splitlines()
    assert [json.loads(line)["audio"] for line in lines] == [str(clips / f"{number}.wav") for number in range(3)]
    assert {json.loads(line)["source_language"] for line in lines} == {"fr"}


def test_a_table_on_standard_output_has_one_header(tiny_model: Path, clips: Path) -> None:
    rows = translate(clips, "--model", tiny_model, "--to", "de", "--format", "tsv", "--n-best", 2).stdout.splitlines()
    assert rows[0].split("\t") == ["audio", "start", "end", "rank", "score", "text"]
    assert [row.split("\t")[3] for row in rows[1:]] == ["1", "2"] * 3


def test_standard_input(tiny_model: Path, clips: Path) -> None:
    expected = translate(clips / "1.wav", "--model", tiny_model, "--to", "de").stdout
    result = translate("-", "--model", tiny_model, "--to", "de", stdin=(clips / "1.wav").read_bytes())
    assert (result.exit_code, result.stdout) == (0, expected)
    result = translate("-", "--model", tiny_model, "--to", "de", stdin=b"")
    assert result.exit_code == 1
    assert "empty file" in result.stderr


def test_silence_is_not_translated(tiny_model: Path, tmp_path: Path) -> None:
    quiet = write_media(tmp_path / "quiet.wav", np.zeros(16_000, np.float32))
    result = translate(quiet, "--model", tiny_model, "--to", "de")
    assert (result.exit_code, result.stdout) == (0, "\n")
    assert "only silence; its result is empty" in result.stderr


def test_an_audio_track_can_be_chosen_and_the_choice_is_noted(tiny_model: Path, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(film({"hz": 100, "language": "eng"}, {"hz": 900, "language": "ger"}))
    common = (path, "--model", tiny_model, "--to", "de", "--format", "json")
    results = [
        translate(*common),
        translate(*common, "--audio-track", "German"),
        translate(*common, "--audio-track", "1"),
    ]
    assert [result.exit_code for result in results] == [0, 0, 0]
    note = "audio track 1 (English) was used; others: 2 (German); choose with --audio-track and a number or language"
    assert messages(results[0]) == f"note: {path}: {note}\n"
    assert messages(results[1]) == messages(results[2]) == ""
    first, german, english = (json.loads(result.stdout) for result in results)
    assert (first["notes"][0], german["recipe"]["audio_track"]) == (note, "German")
    assert note not in german["notes"]
    assert first["text"] == english["text"] != german["text"]
    translator = Translator(tiny_model)
    assert translator.translate(path, to="de", audio_track="de").text == german["text"]
    missing = translate(*common, "--audio-track", "fr")
    assert missing.exit_code == 1
    assert "no audio track 'fr'; expected the number or language of one of its audio tracks: 1 (Eng" in missing.stderr


def test_audio_too_short_for_a_word_has_no_subtitle(tiny_model: Path, tmp_path: Path) -> None:
    path = write_media(tmp_path / "click.wav", sine(300, 0.01))
    result = translate(path, "--model", tiny_model, "--to", "de", "--format", "srt")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"note: {path}: its sound lasts less than 0.1 s, too short for a word; its result is empty" in result.stderr


def test_whole_utterances_are_not_cut_at_pauses(tiny_model: Path) -> None:
    """As for test sets."""
    two = np.concatenate([sine(300, 9.0), np.zeros(24_000, np.float32), sine(500, 9.0)])
    translator = Translator(tiny_model)
    for whole, expected in ((False, 2), (True, 1)):
        [(_, result)] = translator.stream([two], to="de", whole=whole)
        assert isinstance(result, Translation)
        assert len(result.segments) == expected


def test_long_audio_is_translated_in_segments(tiny_model: Path, tmp_path: Path) -> None:
    loud, pause = sine(300, 12.0), np.zeros(2 * 16_000, np.float32)
    talk = write_media(tmp_path / "talk.flac", np.concatenate([loud, pause, loud, pause, loud]))
    result = translate(talk, "--model", tiny_model, "--to", "de", "--format", "tsv")
    starts = [row.split("\t")[1] for row in result.stdout.splitlines()[1:]]
    assert [int(float(start)) for start in starts] == [0, 13, 27]


@pytest.fixture(scope="module")
def published(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow random model with the real vocabulary, in a folder named after a published checkpoint."""
    folder = tmp_path_factory.mktemp("published") / "wav2vec2-xls-r-300m-en-to-15"
    model = transformers_model(1, decoder={"vocab_size": 250_054})
    return write_model(folder, shared / "xlmr-sentencepiece" / "sentencepiece.bpe.model", model)


def test_language_tokens_of_the_published_checkpoints(published: Path, clips: Path) -> None:
    translator = Translator(published)
    assert {code: translator.checkpoint.target_id(code) for code in ("de", "ca", "cy", "Latvian")} == {
        "de": 250_003,
        "ca": 250_005,
        "cy": 250_007,
        "Latvian": 250_017,
    }
    assert_refused("does not translate into Spanish (es); it has ar, ca, cy", clips, "--model", published, "--to", "es")


def test_the_ambiguous_token_of_latvian_is_noted(published: Path, clips: Path) -> None:
    arguments = (clips / "0.wav", "--model", published, "--to", "lv", "--max-length", 5)
    result = translate(*arguments)
    assert result.exit_code == 0
    assert "the token of lv is ambiguous: 250017 (my_MM) according to the model cards" in result.stderr
    assert (
        messages(translate(*arguments, "--language-token", "lv=lv_LV"))
        == messages(translate(*arguments, "--language-token", "lv=250016"))
        == ""
    )
