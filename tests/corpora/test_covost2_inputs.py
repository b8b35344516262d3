"""Invalid inputs of `voxlate prepare covost2`: all problems are reported at once."""

import re
import shutil
import tarfile
from pathlib import Path

import pytest

from micro_corpus import add_member, pack, write_covost2
from preparing import covost2, error_of, lines, run
from voxlate.corpora.common_voice import unescape

pytestmark = pytest.mark.usefixtures("cache")


def test_damaged_archives_of_translations_are_reported(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "covost_v2.fr_en.tsv.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(corpus / "covost/covost_v2.fr_en.tsv", "covost_v2.fr_en.tsv")
    contents = path.read_bytes()
    for damaged in (contents[:-6] + bytes([contents[-6] ^ 1]) + contents[-5:], contents[:-9], contents[:200]):
        path.write_bytes(damaged)
        message = error_of(covost2(corpus, tmp_path / "out", covost=tmp_path))
        assert re.search(r"tsv.tar.gz: damaged before byte [\d,]+ \(.+\); fetch it again", message)
    assert not list((tmp_path / "out").rglob("*.jsonl"))
    path.write_bytes(contents)
    assert run(covost2(corpus, tmp_path / "out", covost=tmp_path)) == 1


@pytest.mark.parametrize("layout", ["flat", "tar.gz"])
@pytest.mark.parametrize(("line", "place"), [(0, 1), (2, 3)])
def test_tables_that_are_not_utf8_are_refused(tmp_path: Path, layout: str, line: int, place: int) -> None:
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    validated, table = tmp_path / "common_voice/fr/validated.tsv", tmp_path / "covost/covost_v2.fr_en.tsv"

    def spoil(path: Path) -> bytes:
        contents = path.read_bytes()
        rows = contents.split(b"\n")
        rows[line] = b"\xe9" + rows[line]
        path.write_bytes(b"\n".join(rows))
        return contents

    whole = spoil(table)
    expected = rf"line {place}: not UTF-8 \(byte 0xE9, number 1 of the line\); save the file as UTF-8"
    assert re.search(rf"covost_v2.fr_en.tsv: {expected}", error_of(covost2(tmp_path, tmp_path / "out")))
    table.write_bytes(whole)
    spoil(validated)
    if layout == "tar.gz":
        pack(tmp_path / "common_voice/fr.tar.gz", tmp_path / "common_voice/fr")
        expected = f"fr.tar.gz: validated.tsv: {expected}"
    assert re.search(expected, error_of(covost2(tmp_path, tmp_path / "out")))
    assert not list((tmp_path / "out").rglob("*.jsonl.*")) + list((tmp_path / "out/fr-en").rglob("*.jsonl"))


def test_all_problems_are_reported_at_once(corpus: Path, tmp_path: Path) -> None:
    message = error_of(covost2(corpus, tmp_path / "out", "fr-xx", "es-en", "ca-en"))
    pairs, *others = message.splitlines()[1:]
    assert pairs == (
        "  --pairs: 'fr-xx' (did you mean fr-en?): not a pair of languages; expected pairs such as fr-en "
        "and en-de, or x-en, en-x or all for the 36 of CoVoST-2"
    )
    voice, covost = corpus / "common_voice", corpus / "covost"
    assert others == [
        *(
            f"  no covost_v2.{code}_en.tsv under {covost}; expected this file, covost_v2.{code}_en.tsv.tar.gz or "
            f"covost_v2.{code}_en.train.tsv, .dev.tsv and .test.tsv there or in {code}_en/"
            for code in ("es", "ca")
        ),
        *(
            f"  no Common Voice in {name} under {voice}; expected clips/, {code}/clips/, VERSION/{code}/clips/ or an "
            f"archive such as {code}.tar.gz"
            for code, name in (("es", "Spanish"), ("ca", "Catalan"))
        ),
    ]
    places = {"common_voice": tmp_path / "cv", "covost": tmp_path / "st"}
    assert error_of(covost2(corpus, tmp_path / "out", **places)).splitlines() == [
        "nothing was prepared:",
        f"  --covost {tmp_path / 'st'}: no such folder",
        f"  --common-voice {tmp_path / 'cv'}: no such folder",
    ]
    assert "--pairs: '': not a pair of languages" in error_of(covost2(corpus, tmp_path / "out", ""))
    assert not (tmp_path / "out").exists()


def test_releases_that_cannot_be_used(corpus: Path, tmp_path: Path) -> None:
    voice = tmp_path / "voice"
    shutil.copytree(corpus / "common_voice/fr", voice / "v4/fr")
    shutil.copytree(corpus / "common_voice/fr", voice / "v5/fr")
    options = {"common_voice": voice}
    message = error_of(covost2(corpus, tmp_path / "out", **options))
    assert message == (
        f"several releases of fr ({voice / 'v4/fr'}, {voice / 'v5/fr'}); pass the folder of one as --common-voice"
    )
    shutil.rmtree(voice / "v5")
    (voice / "v4/fr/validated.tsv").rename(voice / "v4/fr/train.tsv")
    assert "no validated.tsv, which contains the sentences" in error_of(covost2(corpus, tmp_path / "out", **options))
    (voice / "v4/fr/validated.tsv").write_text("path\tsentence\n")
    message = error_of(covost2(corpus, tmp_path / "out", **options))
    assert "validated.tsv: no column client_id in its first line; expected a TSV of Common Voice" in message
    flat = {"common_voice": corpus / "common_voice/de"}  # labeled as German
    assert "no Common Voice in French under" in error_of(covost2(corpus, tmp_path / "out", **flat))


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ("", "empty; fetch it again"),
        ("path\ttranslation\n", "no column split; its columns: path, translation"),
        ("path\ttranslation\tsplit\na.mp3\tx\n", "line 2: 2 columns, expected 3 as in the first line"),
    ],
)
def test_translations_that_cannot_be_used(corpus: Path, tmp_path: Path, contents: str, expected: str) -> None:
    (tmp_path / "covost_v2.fr_en.tsv").write_text(contents)
    assert expected in error_of(covost2(corpus, tmp_path / "out", covost=tmp_path))


def test_archives_of_translations_that_cannot_be_used(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "covost_v2.fr_en.tsv.tar.gz"
    path.touch()  # as the files of two pairs were at first
    assert "fr_en.tsv.tar.gz: empty file (0 bytes); fetch it again" in error_of(
        covost2(corpus, tmp_path / "out", covost=tmp_path)
    )
    with tarfile.open(path, "w:gz") as tar:
        add_member(tar, "readme")
    assert "contains no TSV files, expected one" in error_of(covost2(corpus, tmp_path / "out", covost=tmp_path))


def test_escapes_are_decoded_and_other_backslashes_kept(tmp_path: Path) -> None:
    assert unescape('say \\"hi\\"') == 'say "hi"'
    assert unescape("C:\\new \\\\x") == "C:\\new \\x"
    write_covost2(tmp_path, pairs=["fr-en"], defects=False)
    with (tmp_path / "covost" / "covost_v2.fr_en.tsv").open("a") as file:
        file.write("common_voice_fr_1003.mp3\tone\\\ttwo\ttest\n")
        file.write("common_voice_fr_1003.mp3\tends so \\\ttest\n")
    assert run(covost2(tmp_path, tmp_path / "out")) == 0
    texts = [row["target_text"] for row in lines(tmp_path / "out/fr-en/test.jsonl")][-2:]
    assert texts == ["one\ttwo", "ends so \\"]


def test_archives_cannot_write_outside_their_folder(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "in/voice").mkdir(parents=True)
    victim = tmp_path / "in" / "victim"
    victim.write_text("whole")
    with tarfile.open(tmp_path / "in/voice/fr.tar.gz", "w:gz") as tar:
        for name in ("../evil.mp3", "/tmp/evil.mp3", "clips/../../evil.mp3", "clips/../clips/common_voice_fr_1000.mp3"):
            add_member(tar, name)
        add_member(tar, "clips/common_voice_fr_1003.mp3", link=str(victim))
        add_member(tar, "clips/unwanted.mp3")
        for path in ("validated.tsv", "clips/common_voice_fr_1000.mp3"):
            tar.add(corpus / "common_voice" / "fr" / path, path)
    assert run(covost2(corpus, tmp_path / "out", common_voice=tmp_path / "in/voice")) == 1
    assert victim.read_text() == "whole"
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/tmp/evil.mp3").exists()
    clips = [path.name for path in (tmp_path / "out/clips/fr").iterdir() if path.suffix != ".tsv"]
    assert clips == ["common_voice_fr_1000.mp3"]
    assert [row["id"] for row in lines(tmp_path / "out/fr-en/train.jsonl")] == ["fr-en/common_voice_fr_1000"]


def test_a_damaged_archive_is_reported(corpus: Path, tmp_path: Path) -> None:
    write_covost2(tmp_path, layout="tar.gz", pairs=["fr-en"])
    archive = tmp_path / "common_voice" / "cv-corpus-4-2019-12-10-fr.tar.gz"
    contents = archive.read_bytes()
    archive.write_bytes(contents[: len(contents) // 2])
    message = error_of(covost2(tmp_path, tmp_path / "out"))
    assert re.search(r"fr.tar.gz: damaged before byte [\d,]+ \(.+\); fetch it again", message)
    archive.write_bytes(contents)
    assert run(covost2(tmp_path, tmp_path / "out")) == 1
    with tarfile.open(archive, "w:gz") as tar:
        add_member(tar, "readme")
    assert "contains no validated.tsv; is it a release of Common Voice?" in error_of(
        covost2(tmp_path, tmp_path / "new")
    )
