"""Prepare Multilingual TEDx (Salesky et al. 2021, openslr.org/100): segments of TEDx talks in eight languages.

Layout, as read by fairseq (examples/speech_to_text/prep_mtedx_data.py): that of MuST-C, with folders such as es-en and
es-es (transcripts only), the subsets train, valid and test (and iwslt2021), and recordings that the tables call .wav
but which are .flac files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from voxlate.corpora.must_c import prepare_talks
from voxlate.corpora.preparation import interruptible
from voxlate.corpora.subsets import PairsPreparation


@dataclass(frozen=True)
class MTedxPreparation(PairsPreparation):
    """The options of ``voxlate prepare mtedx``."""

    EXAMPLE: ClassVar[str] = "--corpus mTEDx --pairs es-en,es-es -o data"


@interruptible
def prepare(command: MTedxPreparation) -> int:
    """Prepare Multilingual TEDx.

    The segments of its talks are cut into clips. Whole talks, for evaluation, are in the manifests of OUTPUT/talks.
    The folder contains es-en/data/… and so on.
    """
    return prepare_talks(command)
