"""The recipe of a result: everything that it depends on besides the audio."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import torch
import transformers

import voxlate
from voxlate.audio.decoder_check import decoder_fingerprint
from voxlate.audio.tracks import AudioTrack
from voxlate.checkpoints.hub import hub_revision
from voxlate.checkpoints.shortlist import shortlists_sha256
from voxlate.checkpoints.weights import adapter_recipe, weights_sha256
from voxlate.decoding.segmenting import SegmentationOptions
from voxlate.provenance import settings_sha256, source_commit
from voxlate.published_models import hub_id
from voxlate.search_options import SearchSettings


class ModelFiles:
    """The files that a model was loaded from. Their checksums are computed once, when they are first needed.

    `name` is the model as the user named it. `adapter` is the folder of a LoRA adapter, if there is one.
    """

    def __init__(self, name: str, folder: Path, adapter: Path | None = None) -> None:
        self.name, self.folder, self.adapter = hub_id(name), folder, adapter

    @cached_property
    def recipe(self) -> dict[str, object]:
        """The name and revision of the model, and the checksums of its weights and settings."""
        return {
            "model": self.name,
            "revision": hub_revision(self.folder),
            "weights_sha256": weights_sha256(self.folder),
            **({} if self.adapter is None else adapter_recipe(self.adapter)),
            "settings_sha256": settings_sha256(self.folder),
        }


def software_recipe() -> dict[str, object]:
    """Return the version and commit of Voxlate."""
    return {"voxlate": voxlate.__version__, "commit": source_commit()}


def runtime_recipe(dtype: str, device: str) -> dict[str, object]:
    """Return the precision, the device, and the versions of the libraries that decode audio and run the model."""
    return {
        "dtype": dtype,
        "device": device,
        "audio_decoder": decoder_fingerprint(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def translation_recipe(
    files: ModelFiles,
    language_tokens: Mapping[str, int],
    settings: SearchSettings,
    *,
    dtype: str,
    device: str,
    shortlist: bool,
    segmentation: SegmentationOptions | None = None,
    audio_track: AudioTrack | None = None,
) -> Callable[[], dict[str, object]]:
    """Return a function that computes a recipe. It does not refer to the model, so that results do not keep it."""

    def compute() -> dict[str, object]:
        return {
            **software_recipe(),
            **files.recipe,
            "slots": dict(language_tokens),
            **{f"search_{name}": value for name, value in settings.recorded().items()},
            **({} if segmentation is None else segmentation.recorded()),
            "shortlist": shortlists_sha256(files.folder, [*language_tokens]) if shortlist else False,
            **runtime_recipe(dtype, device),
            **({} if audio_track is None else {"audio_track": audio_track}),
        }

    return compute
