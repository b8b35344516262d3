"""The search settings that a model folder states, as commands use them and results say them."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from media import sine, write_media
from voxlate import SearchOptions, Translator, VoxlateError
from voxlate.checkpoints.convert import convert
from voxlate.checkpoints.generation_config import read_search_defaults
from voxlate.checkpoints.shortlist import prepare_shortlist
from voxlate.cli import app


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def state(folder: Path, **fields: Any) -> Path:
    (folder / "generation_config.json").write_text(json.dumps(fields))
    return folder


def searched(folder: Path, **options: Any) -> tuple[Any, ...]:
    recipe = Translator(folder).recipe(SearchOptions(**options))
    return tuple(recipe[f"search_{name}"] for name in ("beam", "length_penalty", "max_length", "early_stopping"))


def test_the_search_settings_of_a_model_are_used_and_recorded(folder: Path) -> None:
    state(folder, num_beams=2, length_penalty=0, max_length=9, early_stopping=False, top_k=50, num_return_sequences=1)
    assert searched(folder) == (2, 0, 9, False)
    assert searched(folder, beam_size=1, length_penalty=1.5) == (1, 1.5, 9, False)
    translator = Translator(folder)
    by_default = translator.translate(sine(300, 0.5), to="de")
    by_options = translator.translate(
        sine(300, 0.5), to="de", options=SearchOptions(2, length_penalty=0, max_length=9, early_stopping=False)
    )
    assert by_default == by_options
    (folder / "generation_config.json").unlink()
    assert Translator(folder).translate(sine(300, 0.5), to="de", options=SearchOptions(max_length=12)) != by_default


def test_a_model_without_search_settings_uses_the_published_ones(folder: Path) -> None:
    for fields in ({}, {"num_beams": None, "max_length": None}, {"bos_token_id": 0, "forced_bos_token_id": 4}):
        assert searched(state(folder, **fields)) == (5, 1.0, 200, True)
    (folder / "generation_config.json").unlink()
    assert searched(folder) == (5, 1.0, 200, True)


def test_published_generation_configs_give_the_published_setting(tmp_path: Path) -> None:
    published = {
        "_from_model_config": True, "bos_token_id": 0, "decoder_start_token_id": 2, "early_stopping": True,
        "eos_token_id": 2, "forced_bos_token_id": 250004, "forced_eos_token_id": 2, "max_length": 200, "num_beams": 5,
        "pad_token_id": 1,
    }  # fmt: skip
    assert SearchOptions().resolve(read_search_defaults(state(tmp_path, **published))) == SearchOptions().resolve()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_new_tokens": 30}, {"max_length": 31}),
        ({"max_new_tokens": 30, "max_length": 20}, {"max_length": 31}),
        ({"early_stopping": "never"}, {"early_stopping": "never"}),
    ],
)
def test_fields_of_generation_config(fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    assert read_search_defaults(state(tmp_path, **fields)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"num_beams": "5"}', 'num_beams is "5", expected a whole number; correct or remove it'),
        ('{"num_beams": true}', "num_beams is true, expected a whole number"),
        ('{"num_beams": 5.0}', "num_beams is 5.0, expected a whole number"),
        ('{"num_beams": 0}', r"num_beams is 0: beam_size is 0, expected 1 \(greedy\) to 1000"),
        ('{"num_beams": 1000000000}', "num_beams is 1000000000: beam_size is"),
        ('{"length_penalty": [1]}', r"length_penalty is \[1\], expected a number"),
        ('{"length_penalty": NaN}', "length_penalty is NaN: length_penalty is nan, expected a number between"),
        ('{"max_length": 1}', "max_length is 1: max_length is 1, expected 3"),
        ('{"max_new_tokens": -1}', "max_new_tokens is -1: max_length is 0, expected 3"),
        ('{"early_stopping": "always"}', 'early_stopping is "always", expected true, false or "never"'),
        ('{"early_stopping": 1}', "early_stopping is 1, expected true"),
        ('{"max_length": "' + "x" * 999 + '"}', 'max_length is "x{39}…, expected'),
        ("[]", "expected a JSON object, got list"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_invalid_fields_are_errors_of_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(VoxlateError, match=message) as caught:
        read_search_defaults(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'generation_config.json'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_fields_that_are_not_supported_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_search_defaults(
            state(tmp_path, no_repeat_ngram_size=3, repetition_penalty=1.0, do_sample=True, min_length=0)
        )
    assert "sets do_sample true, no_repeat_ngram_size 3, which this search does not support" in caplog.text
    caplog.clear()
    assert (
        read_search_defaults(state(tmp_path, bad_words_ids=[], sequence_bias={}, suppress_tokens=[], min_length=0.0))
        == {}
    )
    assert not caplog.text


def test_the_command_line_uses_the_settings_of_the_model(folder: Path, tmp_path: Path) -> None:
    wave = tmp_path / "a.wav"
    write_media(wave, sine(300, 0.3))
    state(folder, num_beams=2, max_length=7)
    command = ["translate", str(wave), "--model", str(folder), "--to", "de", "--format", "json"]
    recipe = json.loads(CliRunner().invoke(app, command).stdout)["recipe"]
    assert (recipe["search_beam"], recipe["search_max_length"], recipe["search_max_repeats"]) == (2, 7, 4)
    recipe = json.loads(CliRunner().invoke(app, [*command, "--beam-size", "1", "--max-repeats", "0"]).stdout)["recipe"]
    assert (recipe["search_beam"], recipe["search_max_length"], recipe["search_max_repeats"]) == (1, 7, None)


def test_a_converted_model_keeps_its_search_settings(folder: Path, tmp_path: Path) -> None:
    state(folder, num_beams=2, length_penalty=0.6, max_new_tokens=20, early_stopping="never")
    convert(str(folder), tmp_path / "new", [], None)
    assert searched(tmp_path / "new") == searched(folder) == (2, 0.6, 21, "never")


def test_the_recipe_has_language_tokens_shortlists_and_settings(folder: Path, tmp_path: Path) -> None:
    """The recipe changes if and only if something that affects results changes."""
    options = SearchOptions()
    plain = Translator(folder).recipe(options, "lv")
    assert plain["slots"] == {"lv": Translator(folder).checkpoint.target_id("lv")}
    assert plain["shortlist"] is False
    other = Translator(folder, language_tokens={"lv": "my_MM"}).recipe(options, "lv")
    assert {name for name in plain if plain[name] != other[name]} == {"slots"}
    assert Translator(folder, language_tokens={"lv": "my_MM"}).recipe(options, "de") == Translator(folder).recipe(
        options, "de"
    )
    texts = tmp_path / "text.txt"
    found = []
    for text in ("der zug", "der zug fährt um sieben uhr"):
        texts.write_text(text)
        prepare_shortlist([texts], "de", folder)
        found.append(Translator(folder, shortlist=True).recipe(options, ["de"]))
    assert [{*one["shortlist"]} for one in found] == [{"de"}, {"de"}]  # type: ignore[misc]
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"shortlist"}
    assert Translator(folder, shortlist=True).recipe(options)["shortlist"] == found[1]["shortlist"]
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    changed = Translator(folder).recipe(options, "lv")
    assert {name for name in plain if plain[name] != changed[name]} == {"settings_sha256"}
