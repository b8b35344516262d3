"""Tiny copies of corpora in their own layouts, with broken recordings, recordings that end too early, and oddities."""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from media import write_media
from micro_corpus import spelled, spoken

TALK = (0, 1, 2, 3, 4, 5) * 2  # words, each of 0.25 s after a pause of 0.05 s


def write_talks(
    root: Path,
    pairs: Sequence[str] = ("en-de",),
    subsets: Sequence[str] = ("train", "dev", "tst-COMMON"),
    suffix: str = ".wav",
) -> Path:
    """MuST-C, or Multilingual TEDx with its suffix .flac: one talk is no media file, and one ends too early."""
    for pair in pairs:
        source, target = pair.split("-")
        for subset in subsets:
            folder = root / pair / "data" / subset
            (folder / "wav").mkdir(parents=True)
            (folder / "txt").mkdir()
            write_media(folder / f"wav/ted_1{suffix}", spoken(TALK, 16_000))
            write_media(folder / f"wav/ted_2{suffix}", spoken(TALK[:4], 16_000))
            (folder / f"wav/ted_3{suffix}").write_text("no sound")
            segments = [(1, 0.0, 0.75), (1, 1.0, 0.5), (2, 0.5, 2.0), (2, 4.0, 1.0), (3, 0.0, 1.0)]
            lines = [
                f"- {{duration: {seconds}, offset: {start}, rW: 3, uW: 0, speaker_id: spk.{talk}, wav: ted_{talk}.wav}}"
                for talk, start, seconds in segments
            ]
            (folder / f"txt/{subset}.yaml").write_text("\n".join(lines) + "\n")
            for language in {source, target}:
                texts = [spelled([number], language) for number in range(len(segments))]
                (folder / f"txt/{subset}.{language}").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return root


def write_europarl_st(root: Path, pairs: Sequence[str] = ("en-de",)) -> Path:
    """Europarl-ST: speeches of which one does not exist."""
    for pair in pairs:
        source, target = pair.split("-")
        (root / source / "audios").mkdir(parents=True, exist_ok=True)
        write_media(root / source / "audios/en.20080904.3.3-120.m4a", spoken(TALK, 16_000))
        for subset in ("train", "train-noisy", "dev", "test"):
            folder = root / source / target / subset
            folder.mkdir(parents=True)
            speeches = ("en.20080904.3.3-120", "en.gone")
            segments = [(speeches[0], 0.0, 0.75), (speeches[0], 1.0, 1.5), (speeches[1], 0.0, 1.0)]
            (folder / "segments.lst").write_text("".join(f"{name} {start} {end}\n" for name, start, end in segments))
            (folder / "speeches.lst").write_text("\n".join(speeches) + "\n")
            (folder / "speakers.lst").write_text("spk_1\nspk_2\n")
            for language in (source, target):
                texts = [spelled([number], language) for number in range(len(segments))]
                (folder / f"segments.{language}").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return root


def write_fleurs(root: Path, *, packed: bool = False) -> Path:
    """FLEURS in English and German: sentence 2 is read twice, sentence 4 is missing in English, a clip is broken."""
    for folder_name, numbers in (("de_de", (1, 2, 2, 3, 4)), ("en_us", (1, 2, 3))):
        for subset in ("train", "dev", "test"):
            folder = root / "data" / folder_name
            clips = folder / "audio" / subset
            clips.mkdir(parents=True)
            rows = []
            for index, number in enumerate(numbers):
                clip = clips / f"{subset}{index}.wav"
                write_media(clip, spoken([number], 16_000))
                text = f'"{spelled([number], folder_name[:2])}."'
                rows.append(f"{number}\t{clip.name}\t{text}\t{text.lower()}\tx | y\t4000\tMALE\n")
            (clips / f"{subset}0.wav").write_bytes(b"")
            (folder / f"{subset}.tsv").write_text("".join(rows), encoding="utf-8")
            if packed:
                with tarfile.open(folder / "audio" / f"{subset}.tar.gz", "w:gz") as archive:
                    for clip in sorted(clips.iterdir()):
                        info = tarfile.TarInfo(f"{subset}/{clip.name}")
                        info.size = clip.stat().st_size
                        archive.addfile(info, io.BytesIO(clip.read_bytes()))
                        clip.unlink()
                clips.rmdir()
    return root


def write_librispeech(root: Path) -> Path:
    """LibriSpeech: an utterance of each chapter is missing."""
    for subset in ("train-clean-100", "dev-clean", "test-clean", "test-other"):
        chapter = root / subset / "84" / "121123"
        chapter.mkdir(parents=True)
        lines = []
        for number in range(3):
            name = f"84-121123-{number:04}"
            lines.append(f"{name} {spelled([number, 1], 'en').upper()}\n")
            if number != 1:
                write_media(chapter / f"{name}.flac", spoken([number, 1], 16_000))
        (chapter / "84-121123.trans.txt").write_text("".join(lines))
    return root
