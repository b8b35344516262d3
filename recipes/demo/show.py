"""Translate the bundled clips with the bundled model: source, reference and translation side by side, and subtitles.

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
from voxlate.decoding.writers import to_srt
from voxlate.errors import AudioError
from voxlate.files import write_text
from voxlate.languages import find_language
from voxlate.manifest.reading import read_manifest

HERE = Path(__file__).resolve().parent
ABOUT = """\
This is Voxlate's small demo model: {millions:.1f} million parameters, trained from nothing on synthetic speech of
travel and everyday phrases (recipes/demo/). These clips were not in its training data. It knows nothing else.
"""
NEXT = """\
Real speech takes a published XLS-R checkpoint (3.2 GB, fetched when first used):

    {voxlate} translate talk.mp3 --to en
"""


def main() -> None:
    """Translate, print the table, write one .srt per clip and language."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-translations"), help="folder for the subtitles")
    output = parser.parse_args().output
    console = Console(highlight=False)
    rows = list(read_manifest(HERE / "clips" / "clips.jsonl"))
    translator = Translator(HERE / "model", dtype="float32")
    parameters = sum(parameter.numel() for parameter in translator.checkpoint.model.parameters())
    console.print(ABOUT.format(millions=parameters / 1e6), soft_wrap=True)

    began, results = time.perf_counter(), [Translation("", 0.0, "", ())] * len(rows)
    targets = [row.target_language or "" for row in rows]
    for index, result in translator.stream([cast("Path", row.audio) for row in rows], to=targets):
        if isinstance(result, AudioError):
            raise result
        results[index] = result
    seconds = time.perf_counter() - began

    table = Table("", "spoken", "reference", "translation", box=box.SIMPLE_HEAD, pad_edge=False)
    for row, result in zip(rows, results, strict=True):
        source, target = find_language(row.source_language or "").code, result.target_language
        same = result.text == row.target_text
        style = "green" if same else "yellow"
        table.add_row(f"{source}→{target}", row.source_text, row.target_text, f"[{style}]{result.text}[/{style}]")
        write_text(output / f"{Path(result.audio).stem}.{target}.srt", to_srt(result))
    console.print(table)
    right = sum(result.text == row.target_text for row, result in zip(rows, results, strict=True))
    sound = sum(result.seconds for result in results)
    console.print(
        f"{right} of {len(rows)} are word for word the reference; {sound:.0f} s of speech in {seconds:.1f} s. "
        f"Subtitles: {output}/*.srt\n",
        soft_wrap=True,
    )
    console.print(NEXT.format(voxlate=".venv/bin/voxlate"), soft_wrap=True)


if __name__ == "__main__":
    main()
