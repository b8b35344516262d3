"""`voxlate prepare manifest`: user tables as manifests."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from media import sine, write_media
from preparing import ANY, counts, error_of, lines, results, run, table_of
from voxlate.corpora.user_manifest import ManifestPreparation, file_name
from voxlate.data.corpus import read_corpus
from voxlate.manifest.reading import read_manifest

pytestmark = pytest.mark.usefixtures("cache")


def test_usable_rows_of_a_table_are_kept(tmp_path: Path) -> None:
    command = ManifestPreparation(
        tmp_path / "out/all.jsonl", table=table_of(tmp_path), source_language="de", target_language="English"
    )
    assert run(command) == 1
    manifest = read_manifest(tmp_path / "out/all.jsonl", need=("audio", "seconds", "source_language"))
    assert manifest.column("id") == ["0", "1", "2", "3", "4", "5", "7"]
    assert manifest.column("target_language") == ["en"] * 7
    assert [bool(utterance.error) for utterance in manifest] == [False] * 3 + [True] + [False] * 3
    assert manifest[3].error == "3: empty file (0 bytes)"
    found = json.loads((tmp_path / "out/all.drops.json").read_text())["splits"]
    assert counts(found["train"]["left_out"]) == {"clip unreadable": 1}
    assert counts(found["dev"]["kept"]) == {"clip of 0 bytes": 1}


def test_a_table_is_split_by_speaker(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", sine(440, 0.1))
    rows = [f"{i}\ta.wav\tspeaker{i % 40}" for i in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["id\taudio\tspeaker", *rows]).replace("\t", ","))
    command = ManifestPreparation(
        tmp_path / "out", table=tmp_path / "t.csv", split_by="speaker", dev=0.1, test=0.05, allow=ANY
    )
    assert run(command) == 0
    parts = {split: read_manifest(tmp_path / "out" / f"{split}.jsonl") for split in ("train", "dev", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 68, "dev": 8, "test": 4}
    speakers = [set(part.column("speaker")) for part in parts.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 40
    assert all(set(part.column("split")) == {split} for split, part in parts.items())
    before = results(tmp_path / "out")
    assert run(command) == 0
    assert results(tmp_path / "out") == before
    assert run(replace(command, output=tmp_path / "2", seed=2)) == 0
    assert set(read_manifest(tmp_path / "2/test.jsonl").column("speaker")) != speakers[2]


def test_a_table_with_embedded_audio(tmp_path: Path) -> None:
    sound = write_media(tmp_path / "a.wav", sine(440, 0.1)).read_bytes()
    rows = [{"id": f"a/{i}", "audio": {"bytes": sound, "path": None}} for i in range(2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    command = ManifestPreparation(tmp_path / "out/m.jsonl", table=tmp_path / "t.parquet", allow=ANY)
    assert error_of(command).endswith(
        "t.parquet: contains embedded audio, which a jsonl manifest cannot; choose an --output that ends in .parquet, "
        "or write the clips to files with --transcode flac"
    )
    assert run(replace(command, transcode=True)) == 0
    assert [row["audio"] for row in lines(tmp_path / "out/m.jsonl")] == ["audio/a%2F0.flac", "audio/a%2F1.flac"]
    assert run(replace(command, output=tmp_path / "2/m.parquet")) == 0
    assert read_manifest(tmp_path / "2/m.parquet")[0].seconds == 0.1


def test_invalid_options_for_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("id\taudio\na\ta.wav\n")
    (tmp_path / "t.tsv").write_text("id\taudio\tsplit\ttarget_text\na\ta.wav\tvalid\t\na\ta.wav\ttest\tText\n")
    wrong: dict[str, Any] = {"dev": 2, "source_language": "qq", "allow": ("speaker",)}
    message = error_of(ManifestPreparation(tmp_path / "m.txt", table=tmp_path / "t.tsv", split_by=None, **wrong))
    found = message.replace(f"{tmp_path}/", "").splitlines()
    assert found[:-1] == [
        "nothing was prepared:",
        "  --output m.txt: expected a file that ends in .jsonl or .parquet; a folder needs --split-by",
        "  --dev 2 --test 0.05: expected shares of the rows with a sum below 1",
        "  --allow speaker: expected some of audio, source_language, target_language, target_text, split",
        "  unknown language 'qq'; give a code such as de, an ISO 639-3 code, or an English name",
        "  manifest t.tsv: 6 problems",
        "  no column 'target_language'; its columns: id, audio, split, target_text",
        "  line 2: audio 'a.wav' not found (looked for a.wav)",
        "  line 2: split is 'valid', expected train, dev, test",
        "  line 2: target_text is empty",
        "  line 3: audio 'a.wav' not found (looked for a.wav)",
        "  line 3: id 'a' occurs twice, first in line 2",
    ]
    assert found[-1].endswith("or accept rows without them with --allow target_language,target_text")
    (tmp_path / "t.tsv").write_text("id\taudio\na\ta.wav\n")
    message = error_of(ManifestPreparation(tmp_path / "t.tsv", table=tmp_path / "t.tsv", split_by="age"))
    assert "--split-by age: expected random, speaker, column" in message
    assert "t.tsv: is a file, expected a folder for train, dev and test" in message
    (tmp_path / "t.jsonl").touch()
    assert "would overwrite the table itself" in error_of(
        ManifestPreparation(tmp_path / "t.jsonl", table=tmp_path / "t.jsonl")
    )
    assert "no column 'speaker'; its columns: id, audio" in error_of(
        ManifestPreparation(tmp_path / "out", table=tmp_path / "t.tsv", split_by="speaker")
    )
    assert "line 2: audio 'a.wav' not found" in error_of(
        ManifestPreparation(tmp_path / "m.jsonl", table=tmp_path / "t.tsv")
    )


def table_with(folder: Path, *rows: dict[str, Any], name: str = "t.jsonl") -> Path:
    """A table whose rows have the same clip and translation, unless they state others."""
    write_media(folder / "a.wav", sine(440, 0.1))
    common = {"audio": "a.wav", "source_language": "es", "target_language": "en", "target_text": "Yes."}
    text = "".join(json.dumps({"id": str(i), **common, **row}) + "\n" for i, row in enumerate(rows))
    (folder / name).write_text(text)
    return folder / name


def divided(folder: Path) -> dict[str, list[str]]:
    """Return the ids of each split that has a file."""
    paths = {split: folder / f"{split}.jsonl" for split in ("train", "dev", "test")}
    return {split: read_manifest(path).column("id") for split, path in paths.items() if path.exists()}


def test_a_folder_is_split_by_the_column_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"split": split} for split in ("train", "test", "train", "dev")]
    command = ManifestPreparation(tmp_path / "out", table=table_with(tmp_path, *rows))
    assert run(command) == 0
    assert divided(tmp_path / "out") == {"train": ["0", "2"], "dev": ["3"], "test": ["1"]}
    table_with(tmp_path, *rows[:3])
    assert run(replace(command, split_by="column")) == 0
    assert divided(tmp_path / "out") == {"train": ["0", "2"], "test": ["1"]}  # files of an earlier run are removed
    assert "no rows for dev in the column split" in capsys.readouterr().err
    table_with(tmp_path, *rows, {"split": "valid"}, {})
    message = error_of(replace(command, allow=("split",)))
    assert "line 5: split is 'valid', expected train, dev, test" in message
    assert "line 6: split is empty" in message
    table_with(tmp_path, {})
    assert "use --split-by random or --split-by speaker" in error_of(command)
    table_with(tmp_path, {"speaker": "a"}, {"split": " "})
    message = error_of(command)
    assert message.count("line 2: split is") == 1
    message = error_of(replace(command, split_by="speaker"))
    assert "line 2: speaker is empty" in message
    assert "to split a table without a speaker for each row, use --split-by random" in message


def test_a_table_is_split_at_random(tmp_path: Path) -> None:
    command = ManifestPreparation(
        tmp_path / "out", table=table_with(tmp_path, *[{} for _ in range(4)]), split_by="random", dev=0.25, test=0.25
    )
    for i in range(40):
        (tmp_path / f"{i // 2}.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    table_with(tmp_path, *[{"audio": f"{i // 2}.wav", "speaker": "only one"} for i in range(40)])
    assert run(command) == 0
    parts = divided(tmp_path / "out")
    assert {split: len(ids) for split, ids in parts.items()} == {"train": 20, "dev": 10, "test": 10}
    clips = [{int(name) // 2 for name in ids} for ids in parts.values()]
    assert sum(map(len, clips)) == len(set.union(*clips))  # translations of one clip stay together
    table_with(tmp_path, *[{"audio": f"{i // 2}.wav", "speaker": "only one"} for i in range(30)])
    assert run(replace(command, output=tmp_path / "fewer")) == 0
    fewer = divided(tmp_path / "fewer")
    moved = [name for name in fewer["train"] if name not in parts["train"]]
    assert len(moved) <= 6  # most rows of a growing table keep their splits


@pytest.mark.parametrize(
    ("speakers", "expected", "note"),
    [
        ("abc", [1, 1, 1], "dev has 33.3% of the rows, requested 5.0%: each speaker is in one split only"),
        ("aaaabc", [4, 1, 1], "test has 16.7% of the rows"),
        ("ab", [1, 1, 0], "no speaker is left for test: the table has 2; --split-by random also divides"),
        ("aaa", [3, 0, 0], "no speaker is left for dev and test: the table has 1; --split-by random"),
    ],
)
def test_few_speakers(
    tmp_path: Path, speakers: str, expected: list[int], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = table_with(tmp_path, *[{"speaker": speaker} for speaker in speakers])
    assert run(ManifestPreparation(tmp_path / "out", table=table, split_by="speaker")) == 0
    parts = divided(tmp_path / "out")
    assert [len(parts.get(split, [])) for split in ("train", "dev", "test")] == expected
    shown = capsys.readouterr().err
    assert note in shown
    assert ("t.jsonl: no rows for" in shown) == (0 in expected)
    assert ("in several splits, because their rows name several speakers: 1" in shown) == (expected != [3, 0, 0])


def test_rows_that_training_refuses_need_allow(tmp_path: Path) -> None:
    rows = [{"target_text": "", "split": "train"}, {"target_text": " ", "split": "dev"}, {"split": "valid"}]
    command = ManifestPreparation(
        tmp_path / "m.jsonl", table=table_with(tmp_path, *rows, {"audio": "gone.wav", "split": "dev"})
    )
    message = error_of(command)
    assert "accept rows without them with --allow source_language,target_language,target_text" in message
    for problem in (
        "line 1: target_text is empty",
        "line 2: target_text is empty",
        "line 3: split is 'valid', expected train, dev, test",
        "line 4: audio 'gone.wav' not found",
    ):
        assert problem in message
    assert not (tmp_path / "m.jsonl").exists()
    assert run(replace(command, allow=("target_text", "split", "audio"))) == 1
    found = {row["id"]: row.get("error") for row in lines(tmp_path / "m.jsonl")}
    assert found == {"1": "its translation is empty", "2": None, "3": "3: no such file"}
    assert counts(json.loads((tmp_path / "m.drops.json").read_text())["splits"]["train"]["left_out"]) == {
        "no translation": 1
    }
    assert len(read_corpus([tmp_path / "m.jsonl"], limits=None)) == 3  # and training accepts it
    (tmp_path / "few.tsv").write_text("id\taudio\nx\ta.wav\n")
    assert "--allow source_language,target_language,target_text" in error_of(
        replace(command, table=tmp_path / "few.tsv")
    )
    assert run(replace(command, table=tmp_path / "few.tsv", allow=ANY)) == 0
    assert [*lines(tmp_path / "m.jsonl")[0]] == ["id", "audio", "seconds"]


def test_dropped_columns_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_with(tmp_path, {"n_frames": 3700, "note": "x"})
    assert run(ManifestPreparation(tmp_path / "m.jsonl", table=table)) == 0
    assert "t.jsonl: columns left out because manifests do not have them: n_frames, note" in (capsys.readouterr().err)


def test_a_row_with_an_error_and_no_audio_is_kept(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", sine(440, 0.1))
    (tmp_path / "t.jsonl").write_text('{"id": "a", "audio": "a.wav"}\n{"id": "b", "error": "was not readable"}\n')
    for name in ("m.jsonl", "flac/m.jsonl"):
        assert (
            run(ManifestPreparation(tmp_path / name, table=tmp_path / "t.jsonl", allow=ANY, transcode="flac" in name))
            == 1
        )
        assert lines(tmp_path / name)[1] == {"id": "b", "error": "was not readable"}


def test_a_table_may_have_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_with(tmp_path, {"note": "x"}, name=os.fsdecode(b"caf\xe9.jsonl"))
    assert run(ManifestPreparation(tmp_path / "m.jsonl", table=table)) == 0
    assert "caf\\xe9.jsonl  all" in capsys.readouterr().out


def test_file_names_of_any_id() -> None:
    names = ["a", "a/b", "a%2Fb", "..", ".a", "x" * 300, "x" * 301, "ä\0", "A"]
    files = [file_name(name) for name in names]
    assert len(set(files)) == len(files)
    assert all(len(file.encode()) <= 255 and "/" not in file and not file.startswith(".") for file in files)


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_columns_with_other_names(tmp_path: Path, suffix: str) -> None:
    """A column can be used twice; a column of the table with the name of another is not used."""
    write_media(tmp_path / "a.wav", sine(440, 0.1))
    row = {"path": "a.wav", "translation": "hello", "lang": "de", "speaker": "x", "who": "y"}
    table = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), table)
    elif suffix == ".jsonl":
        table.write_text(json.dumps(row) + "\n")
    else:
        separator = "\t" if suffix == ".tsv" else ","
        table.write_text(f"{separator.join(row)}\n{separator.join(row.values())}\n")
    columns = ("id=path,audio=path", "target_text=translation,source_language=lang", "speaker=who")
    output = tmp_path / "out.jsonl"
    command = ManifestPreparation(output, table=table, columns=columns, target_language="en")
    assert run(command) == 0
    assert lines(output) == [
        {
            "id": "a.wav",
            "audio": "a.wav",
            "seconds": 0.1,
            "source_language": "de",
            "target_language": "en",
            "target_text": "hello",
            "speaker": "y",
        }
    ]
    other = replace(command, columns=(*columns[:2], "source_text=translation"))
    assert run(other) == 0  # the cache distinguishes the names
    assert (lines(output)[0]["source_text"], lines(output)[0]["speaker"]) == ("hello", "x")
    message = error_of(replace(command, columns=("id=path,audio=clip", *columns[1:])))
    assert "no column 'clip' for audio; its columns: path, translation, lang, speaker, who" in message
    message = error_of(replace(command, columns=("sound=path", "id")))
    assert message.startswith("--columns sound=path,id=: expected NAME=COLUMN, where NAME is one of id, audio, ")
    assert "use --columns, such as --columns audio=path" in error_of(replace(command, columns=()))
