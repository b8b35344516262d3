"""The bundled model is small, matches its card, is right on the bundled clips, and loads in plain transformers."""

import csv
import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import SpeechEncoderDecoderModel, Wav2Vec2FeatureExtractor

import show
from card import card, means
from paths import DEMO
from recordings import demo_sentences, record
from voxlate import Translator
from voxlate.audio.loading import load_audio
from voxlate.checkpoints.segmenter_files import SEGMENTER_FILE, load_segmenter, read_about
from voxlate.checkpoints.training_statistics import stored_training_statistics
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.search_options import SearchOptions
from voxlate.training.boundary_recordings import JoinedRecording
from voxlate.training.boundary_scores import score_boundaries

MODEL = DEMO / "model"
CARD = (MODEL / "README.md").read_text(encoding="utf-8")
SCORES: dict[str, Any] = json.loads((MODEL / "scores.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator(MODEL, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def rows() -> list[Utterance]:
    return list(read_manifest(DEMO / "clips/clips.jsonl"))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*"))


def test_it_is_small() -> None:
    assert size(MODEL) <= 20_000_000
    assert size(DEMO / "clips") < 500_000
    assert (MODEL / SEGMENTER_FILE).stat().st_size < 1_000_000
    assert {path.suffix for path in MODEL.iterdir()} <= {".json", ".md", ".model", ".safetensors"}


def test_the_bundled_clips_are_translated_exactly(translator: Translator, rows: list[Utterance]) -> None:
    targets = [row.target_language or "" for row in rows]
    assert {"en", "de"} <= {*targets}
    results = dict(translator.stream([cast("Path", row.audio) for row in rows], to=targets))
    assert [getattr(results[index], "text", None) for index in range(len(rows))] == [row.target_text for row in rows]


@pytest.mark.parametrize("beam", [1, 5])
def test_plain_transformers_gives_the_same_text(translator: Translator, rows: list[Utterance], beam: int) -> None:
    theirs: Any = SpeechEncoderDecoderModel.from_pretrained(MODEL, dtype=torch.float32).eval()
    extractor: Any = Wav2Vec2FeatureExtractor.from_pretrained(MODEL)
    for row in rows:
        audio = load_audio(cast("Path", row.audio))
        inputs = extractor(audio.waveform, sampling_rate=16_000, return_tensors="pt")
        tag = translator.checkpoint.target_id(row.target_language or "")
        [ids] = theirs.generate(**inputs, forced_bos_token_id=tag, num_beams=beam, max_length=100).tolist()
        ours = translator.translate(
            cast("Path", row.audio), to=row.target_language or "", options=SearchOptions(beam_size=beam, max_length=100)
        )
        assert translator.checkpoint.tokenizer.decode(ids) == ours.text


def test_the_card_has_the_scores(translator: Translator) -> None:
    millions = sum(parameter.numel() for parameter in translator.checkpoint.model.parameters()) / 1e6
    assert card(SCORES, millions) == CARD
    assert SCORES["segmenter"] == read_about(MODEL / SEGMENTER_FILE)
    assert SCORES["recipe"]["weights_sha256"] == translator.recipe(SearchOptions())["weights_sha256"]
    assert [*SCORES["sets"]] == ["test", "test-babble", "test-voices", "test-voices-babble"]
    assert all(numbers["n"] == 400 for found in SCORES["sets"].values() for numbers in found.values())
    for metric, signatures in SCORES["signatures"].items():
        assert len(signatures) == 1
        assert f"- {metric}: `{signatures[0]}`" in CARD


def test_the_lengths_of_its_training_clips_are_known() -> None:
    statistics = stored_training_statistics(MODEL)
    assert statistics is not None
    assert 2 < statistics.median_seconds < statistics.q95_seconds < 6 < statistics.max_seconds < 10


@pytest.mark.slow
def test_sentence_boundaries_are_found_in_recordings(translator: Translator) -> None:
    boundaries = load_segmenter(MODEL, translator.checkpoint.model)
    assert boundaries is not None
    recordings = []
    for language, seed in itertools.product(("de", "fr", "en"), range(3)):
        recording = record(demo_sentences(40, seed), language, seed=seed, speakers=2, level_db=(0, -10))
        edges = [edge for sentence in recording.sentences for edge in (sentence.start, sentence.end)]
        outside = zip([0, *edges[1::2]], [*edges[::2], len(recording.waveform_T)], strict=True)
        [probabilities_F] = boundaries.boundary_probabilities([recording.waveform_T])
        recordings.append((JoinedRecording(recording.waveform_T, tuple(outside)), probabilities_F))
    scores = score_boundaries(recordings, boundaries.frame_samples, 0.8)
    assert scores.recall("longer") >= 0.98
    assert scores.recall("0.15 to 0.35 s") >= 0.9
    assert scores.precision >= 0.92


def test_the_report_has_the_same_scores() -> None:
    with (DEMO / "report/tables.csv").open(encoding="utf-8") as file:
        reported = {(row["system"], row["row"]): float(row["bleu"]) for row in csv.DictReader(file)}
    for name, found in SCORES["sets"].items():
        for direction, numbers in found.items():
            assert round(reported[name, direction], 2) == numbers["BLEU"]
    assert (DEMO / "report/report.html").stat().st_size < 3_000_000


def test_bleu_is_high_enough_for_a_demo() -> None:
    bleu = means(SCORES)["test"]
    assert bleu["X→en"] >= 80
    assert bleu["en→X"] >= 75


def test_the_demo_shows_source_reference_and_translation_and_writes_subtitles(
    rows: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["show.py", "--output", str(tmp_path / "srt")])
    monkeypatch.setenv("COLUMNS", "300")
    show.main()
    printed = capsys.readouterr().out
    for row in rows:
        assert re.search(
            rf"{row.source_language}→{row.target_language} +{re.escape(row.source_text or '')} +"
            rf"{re.escape(row.target_text or '')} +{re.escape(row.target_text or '')} *\n",
            printed,
        )
        subtitles = (tmp_path / "srt" / f"{Path(str(row.audio)).stem}.{row.target_language}.srt").read_text("utf-8")
        assert re.match(r"1\n00:00:00,\d{3} --> 00:00:\d\d,\d{3}\n", subtitles)
        assert (row.target_text or "") in " ".join(subtitles.split())
    assert f"{len(rows)} of {len(rows)} match the reference exactly" in printed
    assert "small demo model" in printed
    assert "voxlate translate talk.mp3 --to en" in printed


def test_a_truncated_translation_has_a_note(translator: Translator) -> None:
    clip = DEMO / "clips/de-28.flac"
    short = translator.translate(clip, to="en", options=SearchOptions(max_length=6))
    assert short.text == "The operation"
    assert short.notes == (
        "its translation reached the maximum length, 6 tokens, and may be cut off; see --max-length",
    )
    assert translator.translate(clip, to="en").notes == ()
