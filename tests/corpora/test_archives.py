"""Archives: damage is reported, decompression bombs are refused, and little memory is needed."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from micro_corpus import add_member
from voxlate.corpora.archives import read_members
from voxlate.corpora.clip_checks import ClipJournal
from voxlate.corpora.common_voice import PackedRelease
from voxlate.corpora.covost2_tsv import TranslationTables
from voxlate.errors import VoxlateError

FILES = {"validated.tsv": b"path\n" * 200, "clips/a.mp3": b"a" * 512, "clips/b.mp3": b"b" * 700, "clips/empty.mp3": b""}


def tar_bytes(files: dict[str, bytes] | None = None, format_: int = tarfile.PAX_FORMAT) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format_) as tar:
        for name, contents in (FILES if files is None else files).items():
            add_member(tar, name, contents)
    return output.getvalue()


def read(path: Path) -> dict[str, bytes]:
    return {member.name: member.read(1 << 20) for member in read_members(path)}


def error_of(path: Path) -> str:
    with pytest.raises(VoxlateError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["tar", "gz", "bz2", "xz"])
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_whole_archives_are_read(pack: Callable[[bytes], bytes], format_: int, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    files = FILES | {f"clips/{'ö' * 120}.mp3": b"long name"} if format_ != tarfile.USTAR_FORMAT else FILES
    path.write_bytes(pack(tar_bytes(files, format_)))
    assert read(path) == files
    assert [member.name for member in read_members(path)] == [*files]  # without their contents


def test_gzip_in_several_parts_is_one_archive(tmp_path: Path) -> None:
    contents = tar_bytes()
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(contents[:900]) + gzip.compress(contents[900:]))
    assert read(tmp_path / "x.tar.gz") == FILES


def test_every_flipped_bit_of_a_header_is_reported(tmp_path: Path) -> None:
    contents = bytearray(tar_bytes(format_=tarfile.USTAR_FORMAT))
    path = tmp_path / "x.tar"
    headers = [0, 512 + 1024, 512 + 1024 + 1024]
    for header in headers:
        for byte in (0, 5, 100, 124, 148, 156, 257, 400, 511):
            damaged = contents.copy()
            damaged[header + byte] ^= 4
            path.write_bytes(damaged)
            assert error_of(path).startswith(f"{path}: damaged at byte {header:,} (header of a file: ")
            (tmp_path / "x.tar.gz").write_bytes(gzip.compress(damaged))
            assert f"damaged at byte {header:,} of the decompressed data (header" in error_of(tmp_path / "x.tar.gz")


def test_truncation_is_reported_wherever_it_occurs(tmp_path: Path) -> None:
    contents = tar_bytes()
    path = tmp_path / "x.tar"
    end = len(contents.rstrip(b"\0"))
    for size in [*range(1, end, 97), *range(512, end, 512)]:
        path.write_bytes(contents[:size])
        assert re.match(rf"{path}: damaged (at|before) byte [\d,]+ \(", error_of(path))
    packed = gzip.compress(contents)
    for size in range(1, len(packed)):
        path.write_bytes(packed[:size])
        assert "damaged before byte" in error_of(path) or "damaged at byte 0" in error_of(path)
    path.write_bytes(b"")
    assert error_of(path) == f"{path}: empty file (0 bytes); fetch it again"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_every_flipped_bit_of_compressed_contents_is_reported(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    files = {"validated.tsv": bytes(range(256)) * 8}
    contents = pack(tar_bytes(files))
    path = tmp_path / "x.tar.gz"
    named = 0
    for byte in range(10 if pack is gzip.compress else 6, len(contents), 7):  # after names and times of the format
        path.write_bytes(contents[:byte] + bytes([contents[byte] ^ 16]) + contents[byte + 1 :])
        try:
            found = read(path)
        except VoxlateError as error:
            named += f"{path}: damaged " in str(error) and "; fetch it again" in str(error)
        else:
            assert found == files  # the bit has no meaning
    assert named > len(contents) // 7 - 6


def test_a_block_of_zeros_is_not_mistaken_for_the_end(tmp_path: Path) -> None:
    contents = tar_bytes(format_=tarfile.USTAR_FORMAT)
    path = tmp_path / "x.tar"
    path.write_bytes(contents[:1536] + bytes(512) + contents[2048:])
    assert "data after its end marker" in error_of(path)


def test_implausibly_large_files_are_refused_before_extraction(tmp_path: Path) -> None:
    """A gigabyte of zeros, which readers read in small parts, and a header that claims terabytes."""
    path = tmp_path / "de.tar.gz"
    size = 3 << 30
    member = tarfile.TarInfo("de/validated.tsv")
    member.size = size
    path.write_bytes(gzip.compress(member.tobuf() + bytes(1 << 20)))
    tracemalloc.start()
    release = PackedRelease("de", path, tmp_path / "out")
    with ClipJournal(tmp_path / "journal.jsonl") as journal, pytest.raises(VoxlateError) as error:
        list(release.clips(["a.mp3"], journal, None))
    assert "de/validated.tsv has 3,221,225,472 bytes uncompressed, expected at most 2,147,483,648" in str(error.value)
    table = tarfile.TarInfo("covost_v2.de_en.tsv")
    table.size = size
    path.write_bytes(gzip.compress(table.tobuf()))
    with pytest.raises(VoxlateError, match="uncompressed, expected at most"):
        list(TranslationTables(path, {}))
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    assert "states a size of 1,099,511,627,776 bytes" in error_of(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16 << 20
    assert not list((tmp_path / "out").rglob("*.tsv"))


def test_a_large_table_is_read_with_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "de.tar.gz"
    contents = b"client_id\tpath\tsentence\n" + b"s\ta.mp3\tein Satz\n" * 1_000_000
    path.write_bytes(gzip.compress(tar_bytes({"de/validated.tsv": contents}), 1))
    size = len(contents)
    del contents
    tracemalloc.start()
    release = PackedRelease("de", path, tmp_path / "out")
    with ClipJournal(tmp_path / "journal.jsonl") as journal:
        assert [clip.name for clip in release.clips(["a.mp3"], journal, None)] == ["a.mp3"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < size / 2
    [validated] = (tmp_path / "out").glob("*.tsv")
    assert validated.stat().st_size == size


def test_an_endless_line_is_not_read_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxlate.manifest.table_files.LONGEST_LINE_BYTES", 1 << 20)
    (tmp_path / "covost_v2.de_en.tsv").write_bytes(b"path\ttranslation\tsplit\n" + b"x" * (1 << 20))
    with pytest.raises(VoxlateError, match="line 2: is longer than 1 MiB; does its suffix match its format"):
        list(TranslationTables(tmp_path / "covost_v2.de_en.tsv", {}))
