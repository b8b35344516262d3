"""Train a language identifier: encoder states of clips, averaged once, and a classifier of them.

The encoder stays as it is. The classifier is multinomial logistic regression on standardised means, whose one optimum
L-BFGS finds: neither seed nor learning rate matters. Shape letters: N clips, D width, L languages.
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
from voxlate.checkpoints.hub import find_model
from voxlate.checkpoints.identifier_files import save_identifier
from voxlate.data.batching import collate_waveforms, read_waveform
from voxlate.errors import AudioError, VoxlateError
from voxlate.hardware import choose_device, without_cudnn_attention
from voxlate.manifest.reading import read_manifest
from voxlate.manifest.utterance import Utterance
from voxlate.models.cpu.install import install_cpu_path
from voxlate.models.encoder import SpeechEncoder
from voxlate.models.language_identifier import LanguageIdentifier, mean_state

_MAX_SAMPLES = 30 * SAMPLE_RATE_HZ  # of a clip


@without_cudnn_attention()
def train_identifier(
    manifests: Sequence[Path],
    encoder: str,
    output: Path,
    *,
    clips: int = 1000,
    decay: float = 1e-3,
    device: str = "auto",
    tell: Callable[[str], None] = print,
) -> None:
    """Train on up to `clips` of each source language, drawn evenly from the manifests; write a folder.

    `decay` is the weight of the squared parameters in the loss.
    """
    chosen = _choose(manifests, clips)
    find_model(encoder, named="with --encoder")
    speech = read_encoder(encoder)
    place = choose_device(device)
    network = cast("nn.Module", speech).to(place).eval()
    install_cpu_path(network)
    means: list[Tensor] = []
    languages: list[str] = []
    failed = 0
    for language, found in _means(speech, chosen, place):
        if isinstance(found, AudioError):
            failed += 1
            tell(f"left out: {found}")
            continue
        means.append(found)
        languages.append(language)
    names = sorted(set(languages))
    if len(names) < 2:
        raise VoxlateError(f"clips of {', '.join(names) or 'no language'} alone; expected two languages or more")
    labels_N = torch.tensor([names.index(language) for language in languages])
    weight_LD, bias_L = fit(torch.stack(means), labels_N, len(names), decay)
    projector, classifier = nn.Linear(speech.output_dim, len(names)), nn.Linear(len(names), len(names))
    projector.load_state_dict({"weight": weight_LD, "bias": bias_L})
    classifier.load_state_dict({"weight": torch.eye(len(names)), "bias": torch.zeros(len(names))})
    output.mkdir(parents=True, exist_ok=True)
    save_identifier(output, LanguageIdentifier(speech, projector, classifier, names))
    counts = ", ".join(f"{name} {count}" for name, count in sorted(Counter(languages).items()))
    tell(f"{output}: {len(names)} languages from {len(languages)} clips ({counts}); {failed} could not be read")


def fit(means_ND: Tensor, labels_N: Tensor, languages: int, decay: float) -> tuple[Tensor, Tensor]:
    """Return weights (L, D) and bias (L,) of logistic regression on the means as they are."""
    means_ND = means_ND.double()
    center_D, spread_D = means_ND.mean(0), means_ND.std(0).clamp(min=1e-6)
    standard_ND = (means_ND - center_D) / spread_D
    weight_LD = torch.zeros(languages, means_ND.shape[1], dtype=torch.double, requires_grad=True)
    bias_L = torch.zeros(languages, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight_LD, bias_L], max_iter=300, line_search_fn="strong_wolfe")
    shares_L = torch.bincount(labels_N, minlength=languages).double() / len(labels_N)
    balance_L = 1 / (languages * shares_L)  # a language with fewer clips counts as much as the others

    def loss() -> float:
        optimizer.zero_grad()
        logits_NL = standard_ND @ weight_LD.T + bias_L
        value = nn.functional.cross_entropy(logits_NL, labels_N, balance_L) + decay * weight_LD.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    folded_LD = weight_LD.detach() / spread_D
    return folded_LD.float(), (bias_L.detach() - folded_LD @ center_D).float()


def _choose(manifests: Sequence[Path], clips: int) -> list[Utterance]:
    found: dict[str, list[Utterance]] = {}
    for manifest in manifests:
        for utterance in read_manifest(manifest):
            if utterance.source_language is None:
                raise VoxlateError(f"{manifest}: {utterance.id} has no source_language; expected one for each clip")
            found.setdefault(utterance.source_language, []).append(utterance)
    chosen = []
    for utterances in found.values():
        places = np.linspace(0, len(utterances) - 1, min(clips, len(utterances))).round().astype(int)
        chosen += [utterances[place] for place in places]
    return chosen


@torch.inference_mode()
def _means(
    encoder: SpeechEncoder, utterances: Sequence[Utterance], device: torch.device
) -> Iterator[tuple[str, Tensor | AudioError]]:
    for utterance in utterances:
        try:
            waveform_T = read_waveform(utterance)[:_MAX_SAMPLES]
        except AudioError as error:
            yield str(utterance.source_language), error
            continue
        batch_BT, lengths_B = collate_waveforms([waveform_T], normalize=encoder.normalize_waveform)
        yield str(utterance.source_language), mean_state(encoder, batch_BT.to(device), lengths_B)[0].cpu()
