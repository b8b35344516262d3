"""Train a spoken language identifier: a classifier on the mean encoder state of each clip.

The encoder is frozen. The classifier is multinomial logistic regression on standardized means; L-BFGS finds its unique
optimum, so that there is no seed or learning rate to choose. Shape letters: N clips, D width, L languages.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from voxlate.audio.loading import SAMPLE_RATE_HZ
from voxlate.checkpoints.encoders import read_encoder
from voxlate.checkpoints.hub import find_encoder
from voxlate.checkpoints.identifier_files import save_identifier
from voxlate.data.batching import collate_waveforms, read_waveform
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import choose_device, without_cudnn_attention
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.fast_path import install_fast_path
from voxlate.models.language_identifier import LanguageIdentifier, mean_state
from voxlate.progress import progress_bar

_MAX_SAMPLES = 30 * SAMPLE_RATE_HZ  # of a clip; the rest is ignored


@without_cudnn_attention()
def train_identifier(
    manifests: Sequence[Path],
    encoder: str,
    output: Path,
    *,
    clips: int = 1000,
    decay: float = 1e-3,
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> None:
    """Train on up to `clips` per source language, evenly spaced in the manifests; write a model folder.

    `decay` is the weight of the L2 penalty in the loss. `report` is called with each line of output. VoxlateError if
    there are clips of only one language.
    """
    selected = _select(manifests, clips)
    find_encoder(encoder, named="with --encoder")
    speech_encoder = read_encoder(encoder)
    torch_device = choose_device(device)
    network = cast("nn.Module", speech_encoder).to(torch_device).eval()
    install_fast_path(network)
    means: list[Tensor] = []
    languages: list[str] = []
    failed = 0
    for language, mean in _mean_states(speech_encoder, selected, torch_device):
        if isinstance(mean, AudioError):
            failed += 1
            report(f"left out: {mean}")
            continue
        means.append(mean)
        languages.append(language)
    names = sorted(set(languages))
    if len(names) < 2:
        raise VoxlateError(f"clips of {', '.join(names) or 'no language'} only; expected two languages or more")
    labels_N = torch.tensor([names.index(language) for language in languages])
    weight_LD, bias_L = fit(torch.stack(means), labels_N, len(names), decay)
    projector, classifier = nn.Linear(speech_encoder.output_dim, len(names)), nn.Linear(len(names), len(names))
    projector.load_state_dict({"weight": weight_LD, "bias": bias_L})
    classifier.load_state_dict({"weight": torch.eye(len(names)), "bias": torch.zeros(len(names))})
    output.mkdir(parents=True, exist_ok=True)
    save_identifier(output, LanguageIdentifier(speech_encoder, projector, classifier, names))
    counts = ", ".join(f"{name} {count}" for name, count in sorted(Counter(languages).items()))
    report(f"{output}: {len(names)} languages from {len(languages)} clips ({counts}); {failed} could not be read")


def fit(means_ND: Tensor, labels_N: Tensor, languages: int, decay: float) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression; return its weights (L, D) and bias (L,) for means that are not standardized."""
    means_ND = means_ND.double()
    center_D, spread_D = means_ND.mean(0), means_ND.std(0).clamp(min=1e-6)
    standardized_ND = (means_ND - center_D) / spread_D
    weight_LD = torch.zeros(languages, means_ND.shape[1], dtype=torch.double, requires_grad=True)
    bias_L = torch.zeros(languages, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_LD, bias_L], max_iter=300, line_search_fn="strong_wolfe")
    shares_L = torch.bincount(labels_N, minlength=languages).double() / len(labels_N)
    class_weight_L = 1 / (languages * shares_L)  # all languages have equal weight, regardless of their numbers of clips

    def loss() -> float:
        optimizer.zero_grad()
        logits_NL = standardized_ND @ weight_LD.T + bias_L
        value = nn.functional.cross_entropy(logits_NL, labels_N, class_weight_L) + decay * weight_LD.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    unscaled_LD = weight_LD.detach() / spread_D
    return unscaled_LD.float(), (bias_L.detach() - unscaled_LD @ center_D).float()


def _select(manifests: Sequence[Path], clips: int) -> list[Utterance]:
    """Return up to `clips` utterances of each source language, evenly spaced."""
    by_language: dict[str, list[Utterance]] = {}
    for manifest in manifests:
        for utterance in read_manifest(manifest):
            if utterance.source_language is None:
                raise VoxlateError(f"{manifest}: {utterance.id} has no source_language; expected one for every clip")
            by_language.setdefault(utterance.source_language, []).append(utterance)
    selected = []
    for utterances in by_language.values():
        positions = np.linspace(0, len(utterances) - 1, min(clips, len(utterances))).round().astype(int)
        selected += [utterances[position] for position in positions]
    return selected


@torch.inference_mode()
def _mean_states(
    encoder: SpeechEncoder, utterances: Sequence[Utterance], device: torch.device
) -> Iterator[tuple[str, Tensor | AudioError]]:
    """Yield the language of each utterance, and its mean encoder state (D,) or the error of its audio."""
    with progress_bar("clips", len(utterances)) as advance:
        for utterance in utterances:
            advance(1)
            try:
                waveform_T = read_waveform(utterance)[:_MAX_SAMPLES]
            except AudioError as error:
                yield str(utterance.source_language), error
                continue
            batch_BT, lengths_B = collate_waveforms([waveform_T], normalize=encoder.normalize_waveform)
            yield str(utterance.source_language), mean_state(encoder, batch_BT.to(device), lengths_B)[0].cpu()
