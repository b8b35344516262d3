"""The command ``voxlate convert``: write checkpoints of fairseq in transformers format, or trim a vocabulary."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from voxlate.checkpoints.ctc_files import CTC_FILE
from voxlate.checkpoints.encoders import save_encoder
from voxlate.checkpoints.fairseq import load_fairseq
from voxlate.checkpoints.fairseq2 import build_fairseq2_encoder, is_fairseq2
from voxlate.checkpoints.generation_config import copy_search_defaults
from voxlate.checkpoints.hub import find_encoder
from voxlate.checkpoints.model_folder import Checkpoint, listed_directions, load_checkpoint, save_checkpoint
from voxlate.checkpoints.pickled_checkpoints import read_pickled
from voxlate.checkpoints.segmenter_files import SEGMENTER_FILE
from voxlate.checkpoints.shortlist import find_shortlists
from voxlate.checkpoints.training_statistics import TRAINING_FILE
from voxlate.checkpoints.trim import trim
from voxlate.checkpoints.vocabulary_files import vocabulary_name
from voxlate.errors import VoxlateError
from voxlate.languages import find_language

_COPIED = (CTC_FILE, SEGMENTER_FILE, TRAINING_FILE)


def convert(model: str, output: Path, trim_to: Sequence[str], vocabulary: Path | None) -> str:
    """Write a model folder; return a one-line summary. VoxlateError if `output` is not empty.

    `model` is a folder, a Hub id, a fairseq checkpoint (.pt), which needs `vocabulary`, or a speech encoder of fairseq2
    (.pt). With `trim_to`, only these target languages and the pieces in their shortlists are kept.
    """
    languages = [find_language(language).code for language in trim_to]
    if output.exists() and any(output.iterdir()):
        raise VoxlateError(f"--output {output}: already exists; name a new folder")
    path = find_encoder(model, named="instead")
    if path.is_file() and is_fairseq2(tensors := read_pickled(path)[0]):
        if languages or vocabulary is not None:
            raise VoxlateError(f"{model}: a speech encoder, which has no vocabulary; omit --trim-to and --vocabulary")
        encoder = build_fairseq2_encoder(tensors, path)
        save_encoder(output, encoder)
        return f"{output}: a speech encoder, {_parameters(encoder) / 1e6:.1f} million parameters"
    checkpoint = _load(path, vocabulary)
    before, ids_before = _parameters(checkpoint.model), checkpoint.tokenizer.vocabulary_size
    with tempfile.TemporaryDirectory() as temporary:
        if languages:
            checkpoint = _trimmed(checkpoint, languages, Path(temporary))
        endings = tuple(f"-{target}" for target in checkpoint.targets)
        directions = [direction for direction in listed_directions(checkpoint.folder) if direction.endswith(endings)]
        save_checkpoint(output, checkpoint.model, checkpoint.tokenizer, checkpoint.targets, directions=directions)
    copy_search_defaults(checkpoint.folder, output)
    for name in _COPIED:
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, output / name)
    ids = f"{checkpoint.tokenizer.vocabulary_size:,} of {ids_before:,} ids"
    size = f"{_parameters(checkpoint.model) / 1e6:.1f} of {before / 1e6:.1f} million parameters"
    return f"{output}: {', '.join(sorted(checkpoint.targets))}; {ids}, {size}"


def _load(path: Path, vocabulary: Path | None) -> Checkpoint:
    if not path.is_file():
        return load_checkpoint(path)
    if vocabulary is None:
        raise VoxlateError(f"{path}: has no vocabulary; name mBART-50's sentencepiece.bpe.model with --vocabulary")
    return load_fairseq(path, vocabulary)


def _trimmed(checkpoint: Checkpoint, languages: Sequence[str], folder: Path) -> Checkpoint:
    for language in languages:
        checkpoint.target_id(language)  # raises if the model lacks it
    shortlists = find_shortlists(checkpoint.folder, checkpoint.tokenizer, languages)
    ids = set().union(*(shortlist.ids for shortlist in shortlists.values()))
    return trim(checkpoint, languages, ids, folder / vocabulary_name(checkpoint.tokenizer))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
