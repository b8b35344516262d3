"""Translate the bundled clips with the bundled model, print sources, references and translations, and write subtitles.

python recipes/demo/show.py [--output FOLDER]
"""

import argparse
import time
from pathlib import Path
from typing import cast

from rich import box
from rich.console import Console
from rich.table import Table

from voxlate import Translator
from voxlate.decoding.results import Translation
from voxlate.decoding.subtitle_formats import to_srt
from voxlate.errors import AudioError
from voxlate.files import write_text
from voxlate.languages import find_language
from voxlate.manifest.reading import read_manifest

HERE = Path(__file__).resolve().parent
ABOUT = """\
This is Voxlate's small demo model: {millions:.1f} million parameters, trained from scratch on synthetic speech
of travel and everyday phrases (recipes/demo/). It knows nothing else. These clips were not in its training data.
"""
NEXT = """\
For real speech, use a published XLS-R checkpoint (3.2 GB, downloaded when first used):

    {voxlate} translate talk.mp3 --to en
"""


def main() -> None:
    """Translate the clips, print the table, and write one .srt file per clip and language."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-translations"), help="folder for the subtitles")
    output = parser.parse_args().output
    console = Console(highlight=False)
    rows = list(read_manifest(HERE / "clips" / "clips.jsonl"))
    translator = Translator(HERE / "model", dtype="float32")
    parameters = sum(parameter.numel() for parameter in translator.checkpoint.model.parameters())
    console.print(ABOUT.format(millions=parameters / 1e6), soft_wrap=True)

    start, results = time.perf_counter(), [Translation("", 0.0, "", ())] * len(rows)
    targets = [row.target_language or "" for row in rows]
    for index, result in translator.stream([cast("Path", row.audio) for row in rows], to=targets):
        if isinstance(result, AudioError):
            raise result
        results[index] = result
    seconds = time.perf_counter() - start

    table = Table("", "spoken", "reference", "translation", box=box.SIMPLE_HEAD, pad_edge=False)
    for row, result in zip(rows, results, strict=True):
        source, target = find_language(row.source_language or "").code, result.target_language
        style = "green" if result.text == row.target_text else "yellow"
        table.add_row(f"{source}→{target}", row.source_text, row.target_text, f"[{style}]{result.text}[/{style}]")
        write_text(output / f"{Path(result.audio).stem}.{target}.srt", to_srt(result))
    console.print(table)
    exact = sum(result.text == row.target_text for row, result in zip(rows, results, strict=True))
    speech_seconds = sum(result.seconds for result in results)
    console.print(
        f"{exact} of {len(rows)} match the reference exactly; {speech_seconds:.0f} s of speech in {seconds:.1f} s. "
        f"Subtitles: {output}/*.srt\n",
        soft_wrap=True,
    )
    console.print(NEXT.format(voxlate=".venv/bin/voxlate"), soft_wrap=True)


if __name__ == "__main__":
    main()
