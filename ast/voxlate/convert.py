"""The command ``voxlate convert``: from one model folder to another."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from voxlate.data.shortlist import find_shortlists
from voxlate.errors import VoxlateError
from voxlate.languages import find_language
from voxlate.models.ctc import CTC_FILE
from voxlate.models.interop import load_checkpoint, save_checkpoint
from voxlate.models.trim import trim


def convert(model: str, output: Path, trim_to: Sequence[str]) -> str:
    """Write a model without the pieces that some languages do not use; return a line that says what became of it."""
    languages = [find_language(language).code for language in trim_to]
    if output.exists() and any(output.iterdir()):
        raise VoxlateError(f"--output {output}: is there already; name a new folder")
    checkpoint = load_checkpoint(model)
    before = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    for language in languages:
        checkpoint.target_id(language)  # or say which there are
    found = find_shortlists(checkpoint.folder, checkpoint.tokenizer, languages)
    ids = set().union(*(shortlist.ids for shortlist in found.values()))
    with tempfile.TemporaryDirectory() as temporary:
        name = "tokenizer.json" if checkpoint.tokenizer.path.suffix == ".json" else "sentencepiece.bpe.model"
        smaller = trim(checkpoint, languages, ids, Path(temporary) / name)
        save_checkpoint(output, smaller.model, smaller.tokenizer, smaller.targets)
    if (checkpoint.folder / CTC_FILE).is_file():
        shutil.copyfile(checkpoint.folder / CTC_FILE, output / CTC_FILE)
    after = sum(parameter.numel() for parameter in smaller.model.parameters())
    pieces = f"{smaller.tokenizer.vocabulary_size:,} of {checkpoint.tokenizer.vocabulary_size:,} ids"
    return (
        f"{output}: {', '.join(smaller.targets)}; {pieces}, {after / 1e6:.1f} of {before / 1e6:.1f} million parameters"
    )
