"""Manifests with recordings: texts that are lists of sentences, kept by preparation and refused by training."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import clip, write
from media import sine, write_media
from voxlate.corpora.user_manifest import ManifestPreparation, prepare
from voxlate.data.corpus import LengthLimits, read_corpus
from voxlate.errors import VoxlateError
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.manifest.writing import write_manifest

pytestmark = pytest.mark.usefixtures("cache")
SPOKEN, TRANSLATED = ["Un. ", "«Deux»"], [" One.", "Two\u2028"]
LANGUAGES = {"source_language": "fr", "target_language": "en"}
TALK: dict[str, Any] = {"id": "talk", "audio": "talk.wav", "target_text": TRANSLATED, **LANGUAGES}


def problem_of(path: Path, *rows: dict[str, Any], **options: Any) -> str:
    with pytest.raises(VoxlateError) as error:
        read_manifest(write(path, *rows), check_audio=False, **options)
    return str(error.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_sentences_are_read_and_written_unchanged(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    rows = [TALK | {"source_text": SPOKEN, "seconds": 9.0}, TALK | {"id": "other", "target_text": ["Only one."]}]
    for _ in range(2):  # the second time from the cache
        manifest = read_manifest(write(path, *rows), need=("audio", "target_text"), check_audio=False, recordings=True)
        assert manifest[0] == Utterance(
            "talk", tmp_path / "talk.wav", 9.0, "fr", "en", source_sentences=(*SPOKEN,), target_sentences=(*TRANSLATED,)
        )
        assert manifest[1].target_sentences == ("Only one.",)
        assert manifest.column("target_sentences") == [TRANSLATED, ["Only one."]]
        assert manifest.column("target_text") == [None, None]
    again = tmp_path / f"again{suffix}"
    write_manifest(again, manifest)
    assert list(read_manifest(again, check_audio=False, recordings=True)) == list(manifest)


def test_clips_and_recordings_share_a_jsonl_manifest_but_no_parquet_column(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", TALK, clip(1, target_text="A text."))
    manifest = read_manifest(path, check_audio=False, recordings=True)
    assert [(row.target_text, row.target_sentences) for row in manifest] == [
        (None, (*TRANSLATED,)),
        ("A text.", ()),
    ]
    write_manifest(tmp_path / "again.jsonl", manifest)
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_bytes().splitlines()]
    assert again == [TALK, clip(1, target_text="A text.")]
    with pytest.raises(
        VoxlateError, match=r"some rows have one text, others a list .* write them to a .jsonl manifest"
    ):
        write_manifest(tmp_path / "m.parquet", manifest)
    assert not (tmp_path / "m.parquet").exists()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"target_text": []}, "line 1: target_text is an empty list, expected the sentences of the recording"),
        (
            {"target_text": ["One.", " "]},
            "line 1: target_text is a list whose item 2 is empty, expected one sentence in",
        ),
        ({"target_text": [{"text": "One."}]}, "item 1 is an object ({'text': 'One.'}), expected one sentence in each"),
        (
            {"source_text": ["Un."]},
            "source_text is a list of 1, target_text a list of 2; expected as many sentences in",
        ),
        (
            {"source_text": "Un."},
            "source_text is one text, target_text a list of 2; expected as many sentences in both",
        ),
        ({"source_text": SPOKEN, "target_text": "One."}, "source_text is a list of 2, target_text one text; expected"),
        ({"speaker": ["me"]}, "speaker is a list (['me']), expected text"),
    ],
)
def test_other_lists_are_refused(texts: dict[str, Any], message: str, tmp_path: Path) -> None:
    problem = problem_of(tmp_path / "m.jsonl", TALK | texts, need=("target_text",), recordings=True)
    assert message in problem
    assert "\n" not in problem


@pytest.mark.parametrize("cell", ['["One.", "Two."]', "['One.', \"Two.\"]", "['One.',\n 'Two.']"])
@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_a_cell_that_holds_a_list_is_refused(suffix: str, cell: str, tmp_path: Path) -> None:
    text = cell.replace("\n", " ") if suffix == ".tsv" else '"' + cell.replace('"', '""') + '"'
    separator = "\t" if suffix == ".tsv" else ","
    path = tmp_path / f"m{suffix}"
    path.write_text(f"id{separator}audio{separator}target_text\ntalk{separator}a.wav{separator}{text}\n")
    with pytest.raises(VoxlateError, match=rf"target_text is a list .*, which a {suffix} cannot hold; write the sente"):
        read_manifest(path, check_audio=False, recordings=True)
    path.write_text(path.read_text().replace(text, "[applause] Thanks [sic]"))
    assert read_manifest(path, check_audio=False)[0].target_text == "[applause] Thanks [sic]"


def test_a_parquet_column_of_other_lists_is_refused(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "audio": ["a.wav"], "target_text": [[1, 2]]})
    pq.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(
        VoxlateError, match=r"row 1: target_text is a list whose item 1 is a number \(1\), expected one"
    ):
        read_manifest(tmp_path / "m.parquet", check_audio=False, recordings=True)


def test_training_refuses_recordings(tmp_path: Path) -> None:
    write_media(tmp_path / "talk.wav", sine(440, 0.1))
    path = write(tmp_path / "m.jsonl", TALK | {"seconds": 0.1})
    read_manifest(path, recordings=True)  # now it is in the cache
    with pytest.raises(VoxlateError) as error:
        read_corpus([path], limits=LengthLimits())
    assert str(error.value) == (
        f"manifest {path}: line 1: target_text is a list of 2 sentences, a recording for voxlate evaluate and score; "
        "expected a clip with one text: cut the recording into its sentences, or leave the row out"
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_prepare_manifest_keeps_recordings(suffix: str, tmp_path: Path) -> None:
    write_media(tmp_path / "talk.wav", sine(440, 0.5))
    table = write(tmp_path / f"table{suffix}", TALK | {"source_text": SPOKEN})
    output = tmp_path / f"out/talks{suffix}"
    assert prepare(ManifestPreparation(output, table=table)) == 0
    [talk] = read_manifest(output, need=("seconds", "target_text"), recordings=True)
    assert (talk.source_sentences, talk.target_sentences) == ((*SPOKEN,), (*TRANSLATED,))
    assert talk.seconds == pytest.approx(0.5)
    assert "empty" not in json.dumps(json.loads((tmp_path / "out/talks.drops.json").read_text()))
