"""`voxlate prepare` in tests: a small corpus of each kind, its command, and its output."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus_layouts import write_europarl_st, write_fleurs, write_librispeech, write_talks
from media import write_media
from micro_corpus import spoken, write_covost2
from voxlate.corpora import CORPORA, MAKERS
from voxlate.corpora.covost2 import CoVoST2Preparation
from voxlate.corpora.europarl_st import EuroparlSTPreparation
from voxlate.corpora.fleurs import FleursPreparation
from voxlate.corpora.librispeech import LibriSpeechPreparation
from voxlate.corpora.mtedx import MTedxPreparation
from voxlate.corpora.must_c import MustCPreparation
from voxlate.corpora.parquet import ParquetPreparation
from voxlate.corpora.preparation import Preparation
from voxlate.corpora.user_manifest import ManifestPreparation
from voxlate.errors import VoxlateError
from voxlate.registry import resolve

ANY = ("source_language", "target_language", "target_text")  # columns that tables of these tests may lack


def covost2(corpus: Path, output: Path, *pairs: str, **options: Any) -> CoVoST2Preparation:
    places = {"common_voice": corpus / "common_voice", "covost": corpus / "covost"}
    return CoVoST2Preparation(output, **{**places, "pairs": pairs or ("fr-en",), **options})


def run(command: Preparation) -> int:
    """Run the function of CORPORA that is defined in the module of the command."""
    table = {**CORPORA, **MAKERS}
    [name] = [name for name, place in table.items() if place.partition(":")[0] == type(command).__module__]
    code: int = resolve(table, name, "corpus")(command)
    return code


def error_of(command: Preparation) -> str:
    with pytest.raises(VoxlateError) as error:
        run(command)
    return str(error.value)


def results(folder: Path) -> dict[str, bytes]:
    """Return all files that a command wrote, except those for resuming."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def drops(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / "drops.json").read_text(encoding="utf-8"))["splits"]
    return contents


def counts(entries: dict[str, Any]) -> dict[str, int]:
    return {reason: entry["count"] for reason, entry in entries.items()}


def table_of(folder: Path) -> Path:
    """A user's table with four speakers, and clips of which two are broken, one of them in dev."""
    for i in range(8):
        write_media(folder / f"{i}.wav", spoken([i % 6], 16_000))
    (folder / "3.wav").write_bytes(b"")
    (folder / "6.wav").write_text("no sound")
    rows = [f"{i}\t{i}.wav\ts{i % 4}\t{'dev' if i == 3 else 'train'}\ttext {i}\tclip{'s' * i}" for i in range(8)]
    path = folder / "table.tsv"
    path.write_text("\n".join(["id\taudio\tspeaker\tsplit\ttarget_text\tother", *rows]) + "\n")
    return path


def mirror_of(folder: Path, splits: tuple[str, ...] = ("train", "validation", "test")) -> Path:
    """A parquet mirror with three rows per split, in row groups of two: one clip is broken, one translation empty."""
    (folder / "fr_en").mkdir(parents=True)
    for split in splits:
        rows = []
        for i in range(3):
            name = f"common_voice_fr_{split}{i}.mp3"
            contents = write_media(folder / "clip.mp3", spoken([i], 48_000), 48_000).read_bytes() if i != 1 else b""
            text = "" if i == 2 and split == "train" else f"text {i}"
            audio = {"bytes": contents, "path": name}
            rows.append(
                {
                    "client_id": f"s{i}",
                    "file": f"/x/{name}",
                    "audio": audio,
                    "sentence": "un",
                    "translation": text,
                    "id": name[:-4],
                }
            )
        pq.write_table(
            pa.Table.from_pylist(rows), folder / "fr_en" / f"{split}-00000-of-00001.parquet", row_group_size=2
        )
    (folder / "clip.mp3").unlink()
    return folder


Make = Callable[[Path, Path], Preparation]
COMMANDS: dict[str, Make] = {
    "covost2": lambda root, output: (write_covost2(root, pairs=["fr-en"]), covost2(root, output))[1],
    "europarl-st": lambda root, output: EuroparlSTPreparation(output, corpus=write_europarl_st(root), pairs=("en-de",)),
    "fleurs": lambda root, output: FleursPreparation(output, corpus=write_fleurs(root), pairs=("de-en",)),
    "librispeech": lambda root, output: LibriSpeechPreparation(output, corpus=write_librispeech(root)),
    "manifest": lambda root, output: ManifestPreparation(
        output / "all.jsonl", table=table_of(root), source_language="de", target_language="en"
    ),
    "mtedx": lambda root, output: MTedxPreparation(
        output, corpus=write_talks(root, ["es-en"], ["train", "valid", "test"], ".flac"), pairs=("all",)
    ),
    "must-c": lambda root, output: MustCPreparation(output, corpus=write_talks(root), pairs=("en-de",)),
    "parquet": lambda root, output: ParquetPreparation(output, sources=(mirror_of(root),), pair="fr-en"),
}
