"""Transcripts: the words and times that transformers finds, from our models and from `…ForCTC` folders."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import transformers
from jiwer import cer
from typer.testing import CliRunner

from media import sine, write_media
from paths import DEMO
from random_encoders import CTC_LABELS, write_ctc_model
from tiny import KINDS, waveforms
from voxlate import AudioError, Transcriber, VoxlateError
from voxlate.checkpoints.ctc_labels import Labels, read_labels
from voxlate.cli import app
from voxlate.decoding.ctc_best_path import AlignedWord, best_path
from voxlate.decoding.results import Translation
from voxlate.manifest.reading import read_manifest


def test_the_best_path_merges_repeats_and_drops_blanks() -> None:
    labels = Labels(("", " ", "a", "b"), blank=0, space=1)
    path = [0, 2, 2, 0, 2, 3, 1, 1, 0, 3, 0, 3, 1, 0]
    log_probs_SV = torch.full((len(path), 4), -9.0)
    log_probs_SV[range(len(path)), path] = -0.5
    assert best_path(log_probs_SV, labels) == [AlignedWord("aab", 1, 5, -0.5), AlignedWord("bb", 9, 11, -0.5)]
    assert best_path(log_probs_SV[:1], labels) == []


@pytest.mark.filterwarnings("ignore:Support for mismatched")  # from transformers' implementation of WavLM
@pytest.mark.parametrize("kind", [*KINDS.values()], ids=[*KINDS])
def test_words_and_times_match_transformers(kind: tuple[str, dict[str, Any], bool], tmp_path: Path) -> None:
    theirs = write_ctc_model(tmp_path, kind)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    transcriber = Transcriber(tmp_path, dtype="float32")
    clips = [clip.numpy() for clip in waveforms(3, 1.3, 2.1, 0.4)]
    for index, result in transcriber.stream(clips):
        inputs = extractor(clips[index], sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            ids = theirs(**inputs).logits[0].argmax(-1)
        length = round(result.seconds * 50)  # type: ignore[union-attr]
        expected = tokenizer.decode(ids, output_word_offsets=True)
        [segment] = result.segments  # type: ignore[union-attr]
        texts = [word["word"] for word in expected.word_offsets if word["end_offset"] <= length]
        assert [word.text for word in segment.words][: len(texts)] == texts
        for word, offsets in zip(segment.words, expected.word_offsets, strict=False):
            assert word.start == pytest.approx(offsets["start_offset"] * 0.02)
            assert word.start < word.end <= result.seconds  # type: ignore[union-attr]
        assert segment.text == " ".join(word.text for word in segment.words)


def test_words_are_separated_by_spaces_if_the_head_has_them(tmp_path: Path) -> None:
    write_ctc_model(tmp_path, KINDS["wav2vec 2.0 base"])
    chinese = {
        name.translate(dict(zip(range(65, 75), "天地玄黄宇宙洪荒日月", strict=True))): CTC_LABELS[name]
        for name in CTC_LABELS
    }
    (tmp_path / "vocab.json").write_text(json.dumps(chinese))
    [(_, result)] = Transcriber(tmp_path, dtype="float32").stream([waveforms(3, 1.3)[0].numpy()], language="zh")
    assert isinstance(result, Translation)
    assert len(result.segments[0].words) > 1
    assert result.text == " ".join(word.text for word in result.segments[0].words)


def test_the_demo_model_transcribes() -> None:
    rows = [row for row in read_manifest(DEMO / "clips/clips.jsonl") if row.source_text]
    transcriber = Transcriber(DEMO / "model")
    found = dict(transcriber.stream([row.audio for row in rows]))  # type: ignore[misc]
    texts = [found[index].text for index in range(len(rows))]  # type: ignore[union-attr]
    said = [re.sub(r"\W+", " ", row.source_text or "").strip().lower() for row in rows]
    assert cer(said, [text.lower() for text in texts]) < 0.15


def test_the_command_writes_words_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = DEMO / "clips/fr-25.flac"
    command = ["transcribe", str(clip), "--model", str(DEMO / "model"), "--format", "json,srt", "--output-dir", "out"]
    result = CliRunner().invoke(app, [*command, "--language", "French"], catch_exceptions=False)
    assert result.exit_code == 0
    [path] = Path("out").rglob("fr-25.flac.fr.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    [segment] = written["segments"]
    assert written["source_language"] == "fr"
    assert written["target_language"] is None
    assert written["recipe"]["weights_sha256"]
    assert [word["text"] for word in segment["words"]] == segment["text"].split()
    starts = [word["start"] for word in segment["words"]]
    assert starts == sorted(starts)
    assert starts[-1] < segment["words"][-1]["end"] <= written["seconds"]
    assert segment["text"] in path.with_suffix(".srt").read_text(encoding="utf-8").replace("\n", " ")
    again = CliRunner().invoke(app, [*command, "--language", "fr"], catch_exceptions=False)
    assert "0 transcribed, 0 failed, 1 already done" in again.stderr


def test_times_are_on_the_clock_of_the_file(tmp_path: Path) -> None:
    clip = DEMO / "clips/fr-25.flac"
    late = tmp_path / "late.mka"
    with av.open(str(clip)) as flac, av.open(str(late), "w") as output:
        stream = output.add_stream_from_template(flac.streams.audio[0])
        for packet in flac.demux(audio=0):
            if packet.pts is not None:
                packet.pts = packet.dts = packet.pts + round(7 / (packet.time_base or 1))
                packet.stream = stream
                output.mux(packet)
    (_, plain), (_, moved) = Transcriber(DEMO / "model").stream([clip, late])
    assert isinstance(plain, Translation)
    assert isinstance(moved, Translation)
    assert moved.text == plain.text
    times = [
        [time for word in result.segments[0].words for time in (word.start, word.end)] for result in (plain, moved)
    ]
    assert times[1] == pytest.approx([time + 7 for time in times[0]], abs=0.01)


def test_models_without_a_ctc_head_are_errors(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(VoxlateError, match=r"has no ctc.safetensors; train with loss.ctc_weight"):
        Transcriber(tiny_model)
    (tmp_path / "config.json").write_text('{"architectures": ["WhisperForConditionalGeneration"]}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(
        VoxlateError, match="WhisperForConditionalGeneration does not transcribe; expected a model of Vox"
    ):
        Transcriber(tmp_path)
    with pytest.raises(VoxlateError, match="dtype int8 is for translation"):
        Transcriber(tiny_model, dtype="int8")
    folder = tmp_path / "ctc"
    write_ctc_model(folder, KINDS["wav2vec 2.0 base"])
    (folder / "vocab.json").write_text('{"a": 99}')
    with pytest.raises(VoxlateError, match=r"vocab.json: expected one id below 15 for each label"):
        Transcriber(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"add_adapter": True}))
    with pytest.raises(VoxlateError, match="a head on top of an adapter"):
        Transcriber(folder)


# Files of a tokenizer with their fields, ids of frames, and the expected words.
TOKENIZERS: dict[str, tuple[dict[str, Any], dict[str, Any], list[int], list[str]]] = {
    "lower case, of whole words": (
        {"<pad>": 0, "|": 1, "Σ": 2, "Ο": 3},
        {"do_lower_case": True},
        [2, 3, 2, 1, 2, 0, 2],
        ["σος", "σς"],
    ),
    "pad token last, whatever the config says": (
        {"a": 0, "b": 1, "|": 2, "[UNK]": 3, "[PAD]": 4},
        {"pad_token": "[PAD]", "unk_token": "[UNK]"},
        [0, 0, 4, 0, 3, 2, 1],
        ["aa", "b"],
    ),
    "tokens as objects": (
        {"a": 0, "_": 1, "-": 2, "?": 3},
        {"pad_token": {"content": "_"}, "word_delimiter_token": {"content": "-"}, "unk_token": {"content": "?"}},
        [0, 1, 0, 2, 0, 3],
        ["aa", "a"],
    ),
    "a space between words, special tokens without brackets": (
        {"<pad>": 0, " ": 1, "a": 2, "noise": 3, "end": 4},
        {
            "eos_token": "end",
            "added_tokens_decoder": {"3": {"content": "noise", "special": True}, "99": {"content": "x"}},
        },
        [2, 3, 1, 2, 4],
        ["a", "a"],
    ),
    "no words at all": ({"<pad>": 0, "|": 1, "a": 2}, {"word_delimiter_token": None}, [2, 1, 2], ["a|a"]),
    "one of several languages": (
        {"eng": {"<pad>": 0, "|": 1, "a": 2}, "fra": {"<pad>": 0, "|": 1, "é": 2}},
        {"target_lang": "fra"},
        [2, 1, 2],
        ["é", "é"],
    ),
}


def label_path(folder: Path, vocabulary: object, settings: object, path: list[int], count: int) -> list[str]:
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    log_probs_SV = torch.full((len(path), count), -9.0)
    log_probs_SV[range(len(path)), path] = -0.5
    return [word.text for word in best_path(log_probs_SV, read_labels(folder, 0, count))]


@pytest.mark.parametrize(("vocabulary", "settings", "path", "words"), TOKENIZERS.values(), ids=TOKENIZERS)
def test_labels_match_the_tokenizer(
    tmp_path: Path, vocabulary: dict[str, Any], settings: dict[str, Any], path: list[int], words: list[str]
) -> None:
    count = 3 if "eng" in vocabulary else len(vocabulary)
    assert label_path(tmp_path, vocabulary, settings, path, count) == words
    if "pad_token" not in settings and "added_tokens_decoder" not in settings:  # it prints these two literally
        theirs = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"), **settings)
        assert theirs.decode(path) == " ".join(words)


def test_the_word_separator_may_be_empty(tmp_path: Path) -> None:
    label_path(tmp_path, {"<pad>": 0, "|": 1, "字": 2}, {"replace_word_delimiter_char": ""}, [2], 3)
    assert read_labels(tmp_path, 0, 3).separator == ""


@pytest.mark.parametrize(
    ("vocabulary", "settings", "message"),
    [
        ({"a": 0, "b": 0}, {}, r"vocab\.json: 'a' and 'b' have the same id 0"),
        ({"a": True}, {}, r"vocab\.json: expected one id below 3 for each label"),
        ({"eng": {"a": 0}, "fra": {"é": 0}}, {}, r"vocab\.json: has labels of 2 languages \(eng, fra\), .*target_lang"),
        ({"eng": {"a": 0}, "fra": {"é": 0}}, {"target_lang": "deu"}, r"not those of 'deu'"),
        (
            {"a": 0},
            {"do_lower_case": "yes"},
            r"tokenizer_config\.json: do_lower_case: expected true or false, got 'yes'",
        ),
        ({"a": 0}, {"added_tokens_decoder": {"1": 2}}, r"added_tokens_decoder\.1: expected a valid dictionary, got 2$"),
        ({"a": 0}, {"pad_token": [1]}, r"tokenizer_config\.json: pad_token: expected a valid string, got \[1\]"),
    ],
)
def test_inconsistent_labels_are_errors(tmp_path: Path, vocabulary: object, settings: object, message: str) -> None:
    with pytest.raises(VoxlateError, match=message):
        label_path(tmp_path, vocabulary, settings, [0], 3)


def test_weights_with_nan_are_an_error(tmp_path: Path) -> None:
    model = write_ctc_model(tmp_path, KINDS["wav2vec 2.0 base"])
    with torch.no_grad():
        model.lm_head.weight[1, 1] = torch.nan
    model.save_pretrained(tmp_path)
    clip = waveforms(3, 0.4)[0].numpy()
    with pytest.raises(
        VoxlateError, match=r"the model's scores are NaN in float32: its weights are damaged; fetch the model again"
    ):
        [*Transcriber(tmp_path, dtype="float32").stream([clip])]
    with pytest.raises(VoxlateError, match=r"NaN in bfloat16: .*; try --dtype float32"):
        [*Transcriber(tmp_path, dtype="bfloat16").stream([clip])]


def test_silence_and_noise_give_empty_transcripts_without_errors(tmp_path: Path) -> None:
    transcriber = Transcriber(DEMO / "model")
    silent, tone = np.zeros(16_000, np.float32), write_media(tmp_path / "a.wav", sine(300, 0.3))
    results = [result for _, result in transcriber.stream([silent, tone])]
    assert results[0].segments == ()  # type: ignore[union-attr]
    assert len(results[1].segments) == 1  # type: ignore[union-attr]
    [(_, short)] = transcriber.stream([sine(300, 0.02)])
    assert short.segments == ()  # type: ignore[union-attr]
    assert "too short for a word" in short.notes[0]  # type: ignore[union-attr]


def record(reports: list[tuple[float, float]], done: float, read: float) -> None:
    reports.append((done, read))


@pytest.mark.parametrize("kind", [*KINDS.values()], ids=[*KINDS])
def test_batches_do_not_change_transcripts(kind: tuple[str, dict[str, Any], bool], tmp_path: Path) -> None:
    write_ctc_model(tmp_path, kind)
    clips = [clip.numpy() for clip in waveforms(5, 1.3, 2.1, 0.4, 0.9, 1.7)]
    clips.insert(2, np.zeros(16_000, np.float32))
    expected = [Transcriber(tmp_path, dtype="float32", batch_size=1).transcribe(clip) for clip in clips]
    for batch_size in (2, 16):
        transcriber = Transcriber(tmp_path, dtype="float32", batch_size=batch_size)
        reports: list[tuple[float, float]] = []
        results = list(transcriber.stream([*clips, "none.wav"], progress=partial(record, reports)))
        assert [index for index, _ in results] == [*range(7)]
        assert isinstance(results[-1][1], AudioError)
        assert reports[-1] == pytest.approx((sum(map(len, clips)) / 16_000,) * 2)
        for (_, result), alone in zip(results[:-1], expected, strict=True):
            assert isinstance(result, Translation)
            assert [segment.words for segment in result.segments] == [segment.words for segment in alone.segments]
            scores = [[segment.candidates[0].score for segment in one.segments] for one in (result, alone)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert [one.text for one in transcriber.transcribe(clips)] == [one.text for one in expected]
    with pytest.raises(VoxlateError, match="batch_size is 0, expected 1 or more"):
        Transcriber(tmp_path, batch_size=0)
