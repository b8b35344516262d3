"""Which language is spoken: training, transformers' answers, the commands, and translation by what was found."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from rich.console import Console
from typer.testing import CliRunner

from media import film, write_media
from micro_corpus import WORD_HZ
from random_encoders import build, save_preprocessor
from tiny import KINDS, transformers_model, waveforms, write_model
from voxlate import AudioError, SearchOptions, SegmentationOptions, VoxlateError
from voxlate.checkpoints.identifier_files import load_identifier, save_identifier
from voxlate.cli import app
from voxlate.data.batching import collate_waveforms
from voxlate.decoding.auto import AutoTranslator
from voxlate.decoding.identifier import Identification, Identifier
from voxlate.decoding.results import Candidate, Segment, Translation
from voxlate.models.language_identifier import LanguageIdentifier
from voxlate.training.identifier_training import fit

CLASSES = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM", "wav2vec2-bert": "Wav2Vec2Bert"}


def cli(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def tone(language: str, number: int) -> np.ndarray:
    """Return a tone, whose pitch is low for French and high for German."""
    pitch = WORD_HZ[number % 3 + (3 if language == "de" else 0)]
    times_T = np.arange(16_000 + 1000 * number) / 16_000
    swell_T = 0.2 + 0.1 * np.sin(2 * np.pi * 3 * times_T)
    return (swell_T * np.sin(2 * np.pi * pitch * times_T)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    for split, count in (("train", 12), ("test", 6)):
        lines = []
        for number in range(count):
            for language in ("fr", "de"):
                clip = write_media(folder / f"{split}-{language}-{number}.wav", tone(language, number))
                lines.append({"id": clip.stem, "audio": clip.name, "source_language": language})
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), vocabulary, transformers_model(4))


@pytest.fixture(scope="module")
def identifier(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("identifier") / "new"
    result = cli("train-identifier", corpus / "train.jsonl", "--encoder", model, "--output", output, "--clips", 10)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}: 2 languages from 20 clips (de 10, fr 10); 0 could not be read\n"
    return output


def test_the_language_of_each_file_is_printed(identifier: Path, corpus: Path) -> None:
    clips = [corpus / "test-fr-0.wav", corpus / "test-de-0.wav"]
    result = cli("identify", *clips, "--model", identifier)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[str(clips[0]), "fr"], [str(clips[1]), "de"]]
    assert all(0.5 < float(row[2]) <= 1 for row in rows)


def test_the_accuracy_of_each_language_is_printed(identifier: Path, corpus: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (corpus / "test.jsonl").read_text().splitlines()]
    for row in rows:
        row["audio"] = str(corpus / row["audio"])
    rows[0]["source_language"] = "de"  # a wrong label
    (tmp_path / "broken.wav").write_text("no sound")
    rows.append({"id": "broken", "audio": str(tmp_path / "broken.wav"), "source_language": "fr"})
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = cli("identify", "--model", identifier, "--data", tmp_path / "test.jsonl")
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[1] == ["French", "6", "83.3%", "error", "1"] or lines[2] == ["French", "6", "83.3%", "error", "1"]
    assert ["German", "7", "85.7%", "fr", "1"] in lines
    assert lines[-1] == ["mean", "13", "84.5%"]


@pytest.mark.filterwarnings("ignore:Support for mismatched")  # from transformers' implementation of WavLM
@pytest.mark.parametrize("kind", [*KINDS.values()], ids=[*KINDS])
def test_probabilities_match_transformers(kind: tuple[str, dict[str, Any], bool], tmp_path: Path) -> None:
    encoder: Any = build(kind)
    labels = {0: "fra", 1: "deu", 2: "tlh"}  # the last one is not a known language
    config = transformers.AutoConfig.for_model(kind[0], **kind[1], id2label=labels, classifier_proj_size=6)
    theirs = getattr(transformers, f"{CLASSES[kind[0]]}ForSequenceClassification")(config).eval()
    getattr(theirs, theirs.base_model_prefix).load_state_dict(encoder.model.state_dict())
    for part in (theirs.projector, theirs.classifier):
        torch.nn.init.normal_(part.weight, std=0.5)
    theirs.save_pretrained(tmp_path)
    save_preprocessor(encoder, tmp_path)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    ours = load_identifier(tmp_path, device="cpu", dtype=torch.float32)
    assert ours.languages == ("fr", "de", None)
    for seconds in (0.4, 1.0, 2.5):
        [clip] = waveforms(7, seconds)
        batch = collate_waveforms([clip], normalize=encoder.normalize_waveform)
        with torch.inference_mode():
            expected = theirs(**extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")).logits[0, :2]
            found = ours(*batch)[0]
        assert found[2] == -torch.inf
        torch.testing.assert_close(found[:2], expected.log_softmax(0), atol=1e-4, rtol=1e-4)


def test_saved_identifiers_load_in_transformers(identifier: Path, corpus: Path) -> None:
    model, report = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(identifier, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(identifier)
    for language in ("fr", "de"):
        inputs = extractor(tone(language, 1), sampling_rate=16_000, return_tensors="pt")
        assert model.config.id2label[int(model.eval()(**inputs).logits.argmax())] == language


def test_an_audio_track_can_be_chosen(identifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(film({"hz": WORD_HZ[0]}, {"hz": WORD_HZ[4]}))
    chosen = [cli("identify", path, "--model", identifier, "--audio-track", number) for number in (1, 2)]
    assert [result.stdout.split("\t")[1] for result in chosen] == ["fr", "de"]
    assert [result.stderr for result in chosen] == ["", ""]
    assert (
        f"note: {path}: audio track 1 was used; others: 2; choose"
        in cli("identify", path, "--model", identifier).stderr
    )


def test_logistic_regression_finds_its_optimum() -> None:
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.arange(60) % 3
    means_ND = torch.randn(60, 5, generator=generator) * 4 + labels_N[:, None] * torch.tensor([3.0, 0, -9, 0, 0]) + 7
    weight_LD, bias_L = fit(means_ND, labels_N, 3, 1e-3)
    assert ((means_ND @ weight_LD.T + bias_L).argmax(1) == labels_N).float().mean() > 0.9
    again = fit(means_ND[torch.randperm(60, generator=generator)], labels_N, 3, 1e-3)
    assert not torch.allclose(weight_LD, again[0])


def test_translations_record_the_identified_language(
    identifier: Path, model: Path, corpus: Path, tmp_path: Path
) -> None:
    clips = [corpus / "test-fr-1.wav", corpus / "test-de-2.wav"]
    (tmp_path / "broken.wav").write_text("no sound")
    auto = ["--from", "auto", "--identifier", identifier]
    common = ["--model", model, "--to", "en", "--max-length", 8, "--format", "json", "--output-dir"]
    result = cli("translate", *clips, tmp_path / "broken.wav", *common, tmp_path / "auto", *auto)
    assert result.exit_code == 1
    assert "identified: French 1, German 1" in result.stderr
    assert cli("translate", *clips, *common, tmp_path / "plain").exit_code == 0
    for clip, language in zip(clips, ("fr", "de"), strict=True):
        found, plain = (
            json.loads(next((tmp_path / name).rglob(f"{clip.name}.en.json")).read_text()) for name in ("auto", "plain")
        )
        assert found["source_language"] == language
        assert found["segments"] == plain["segments"]
        assert found["recipe"]["identifier"] == str(identifier)
        assert len(found["recipe"]["identifier_sha256"]) == 64


def test_each_language_is_translated_by_its_model(
    identifier: Path, model: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def choose(target: str, source: str | None = None) -> str:
        if source == "de":
            raise VoxlateError("no published checkpoint")
        asked.append((target, source))
        return str(model)

    monkeypatch.setattr("voxlate.decoding.auto.default_checkpoint", choose)
    clips = [corpus / "test-fr-1.wav", corpus / "test-de-2.wav", corpus / "test-fr-3.wav"]
    result = cli("translate", *clips, "--to", "en", "--max-length", 8, "--from", "auto", "--identifier", identifier)
    assert result.exit_code == 1
    assert asked == [("en", "fr"), ("en", "fr")]
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [str(clips[0]), str(clips[2])]
    assert f"error: {clips[1]}: no published checkpoint" in result.stderr
    assert f"model {model}: speech in French → English" in result.stderr


def test_batches_do_not_change_identifications(identifier: Path) -> None:
    clips: list[Any] = [tone(language, number) for number in range(4) for language in ("fr", "de")]
    clips[3] = np.concatenate([clips[3], np.zeros(32 * 16_000, np.float32), clips[0]])  # two segments
    clips[5] = np.zeros(16_000, np.float32)
    alone = [Identifier(identifier, batch_size=1).identify(clip) for clip in clips]
    together = Identifier(identifier, batch_size=4).identify(clips)
    assert [one.language for one in together] == [one.language for one in alone]
    assert (together[0].language, together[5].language) == ("fr", None)
    for one, other in zip(together, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert together[0].recipe["identifier"] == str(identifier)


def test_line_breaks_in_names_do_not_break_lines(
    identifier: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(corpus / "test-fr-1.wav", "a\r\n\u2028\tb.wav")
    Path("broken\r\x85.wav").write_bytes(b"no sound")
    result = cli("identify", "a\r\n\u2028\tb.wav", "broken\r\x85.wav", "--model", identifier)
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [["a   b.wav", "fr"]]
    assert len(result.stderr.splitlines()) == 1


class NameIdentifier:
    """An identifier whose answers are the names of the inputs."""

    def stream(self, inputs: list[Path], **_: object) -> Iterator[tuple[int, Identification | AudioError]]:
        for index, path in enumerate(inputs):
            yield index, AudioError(f"{path}: no sound") if path.stem == "none" else Identification(path.stem[:2], {})

    def recipe(self) -> dict[str, object]:
        return {"identifier": "names"}


class ModelNameTranslator:
    """A translator whose translations are the name of its model."""

    def __init__(self, model: str, asked: list[tuple[str, str | None]], source: str | None) -> None:
        self.model = model
        asked.append((model, source))

    def stream(self, inputs: list[Path], *, to: Any, source: Any, **_: object) -> Iterator[tuple[int, Translation]]:
        for index, path in enumerate(inputs):
            for target in to[index]:
                text = Segment(0, 1, (Candidate(self.model, 0.0),))
                recipe = {"model": self.model}
                yield index, Translation(str(path), 1.0, target, (text,), source[index], recipe=recipe)


def auto(inputs: str, target: Any, model: str | None = None) -> tuple[list[Any], list[tuple[str, str | None]]]:
    """Translate inputs that are named by their language; return results and the models that were loaded."""
    asked: list[tuple[str, str | None]] = []
    translator: Any = AutoTranslator(
        NameIdentifier(),  # type: ignore[arg-type]
        model,
        SearchOptions(),
        SegmentationOptions(),
        lambda name, source: ModelNameTranslator(name.removeprefix("facebook/wav2vec2-xls-r-"), asked, source),  # type: ignore[arg-type, return-value]
        Console(file=io.StringIO()),
    )
    paths = [Path(f"{name}.wav") for name in inputs.split()]
    return list(translator.stream(paths, to=[target] * len(paths))), asked


def test_no_model_is_loaded_for_languages_without_one() -> None:
    results, asked = auto("fr en sw none de2 fr2", "en")
    assert asked == [("300m-21-to-en", None)]
    assert [index for index, result in results if isinstance(result, Translation)] == [0, 4, 5]
    errors = {index: str(result) for index, result in results if isinstance(result, AudioError)}
    assert sorted(errors) == [1, 2, 3]
    assert errors[1].startswith("en.wav: the speech is already in English (en), and no published checkpoint")
    assert errors[2].startswith(
        "sw.wav: no published XLS-R checkpoint translates from Swahili (sw); published sources are en"
    )
    assert auto("de sw", "de")[1] == []


def test_identified_speech_is_translated_into_several_languages() -> None:
    results, asked = auto("fr en", ["en", "German", "de"])
    assert asked == [("300m-21-to-en", "fr"), ("2b-22-to-16", "fr"), ("300m-en-to-15", "en")]
    found = [(index, one.target_language, one.text) for index, one in results if isinstance(one, Translation)]
    assert found == [(0, "en", "300m-21-to-en"), (0, "de", "2b-22-to-16"), (1, "de", "300m-en-to-15")]
    assert [(index, type(one)) for index, one in results[3:]] == [(1, AudioError)]
    assert dict(results[0][1].recipe) == {"model": "300m-21-to-en", "identifier": "names"}
    assert [one.target_language for _, one in auto("fr", "German")[0]] == ["de"]
    results, asked = auto("fr en sw", ["en", "de"], model="mine")
    assert (len(results), asked) == (6, [("mine", None)])


def test_labels_of_one_language_are_added_up(tmp_path: Path) -> None:
    """zho and cmn together make Mandarin the most probable language, although German is the most probable label."""
    encoder: Any = build(KINDS["XLS-R, XLSR-53, wav2vec 2.0 LV-60"])
    width = encoder.output_dim
    projector, classifier = torch.nn.Linear(width, 2), torch.nn.Linear(2, 4)
    for part in (projector, classifier):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    probabilities = [0.4, 0.3, 0.25, 0.05]
    classifier.bias.data = torch.tensor(probabilities).log()
    save_identifier(tmp_path, LanguageIdentifier(encoder, projector, classifier, ["deu", "zho", "cmn", "tlh"]))
    [(_, found)] = Identifier(tmp_path, device="cpu", dtype="float32").stream([tone("de", 1)])
    assert isinstance(found, Identification)
    assert found.language == "zh"
    assert found.probabilities == pytest.approx({"de": 0.4 / 0.95, "zh": 0.55 / 0.95}, abs=1e-5)


@pytest.mark.parametrize("options", [["--from", "auto"], ["--from", "fr", "--identifier", "x"], ["--identifier", "x"]])
def test_auto_and_identifier_are_given_together(options: list[str], model: Path, corpus: Path) -> None:
    result = cli("translate", corpus / "test-fr-0.wav", "--model", model, "--to", "en", *options)
    assert "--from auto and --identifier must be used together" in str(result.exception)


def test_models_and_manifests_that_cannot_be_used(model: Path, corpus: Path, identifier: Path, tmp_path: Path) -> None:
    clip = corpus / "test-fr-0.wav"
    assert (
        "SpeechEncoderDecoderModel does not identify languages; expected a folder written by `voxlate train-identifier`"
        in str(cli("identify", clip, "--model", model).exception)
    )
    assert "expected either audio or --data with manifests" in str(cli("identify", "--model", identifier).exception)
    (tmp_path / "one.jsonl").write_text(json.dumps({"id": "a", "audio": str(clip), "source_language": "fr"}) + "\n")
    options = ["--encoder", model, "--output", tmp_path / "new"]
    assert "clips of fr only; expected two languages or more" in str(
        cli("train-identifier", tmp_path / "one.jsonl", *options).exception
    )
    (tmp_path / "none.jsonl").write_text(json.dumps({"id": "a", "audio": str(clip)}) + "\n")
    assert "a has no source_language" in str(cli("train-identifier", tmp_path / "none.jsonl", *options).exception)
