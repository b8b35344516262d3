"""Loss and BLEU on the dev sets, per direction, computed by all processes together.

Shape letters: B utterances, T tokens.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from voxlate.config.sections import ValidationConfig
from voxlate.data.batching import Batch, BatchMaker, read_batches, requests_by_length
from voxlate.decoding.search import search
from voxlate.files import write_text
from voxlate.models.loss import smoothed_cross_entropy
from voxlate.search_options import SearchOptions
from voxlate.tokenizer import IGNORED_ID
from voxlate.training.objective import Objective
from voxlate_eval.metrics.bleu import corpus_bleu


@dataclass(frozen=True)
class DirectionScore:
    """Scores of a direction: BLEU with its signature, cross-entropy in nats per token.

    Of all `utterances`, `failed` had no readable audio.
    """

    bleu: float
    loss: float
    utterances: int
    failed: int
    signature: str


def validate(
    objective: Objective,
    maker: BatchMaker,
    settings: ValidationConfig,
    accelerator: Accelerator,
    *,
    workers: int,
    output: Path,
) -> dict[str, DirectionScore]:
    """Return the scores of each direction, in every process; write the hypotheses to `output` as JSON lines.

    An utterance whose audio cannot be read gets an empty hypothesis for BLEU and is left out of the loss.
    """
    objective.eval()
    options = SearchOptions(beam_size=settings.beam_size, max_length=settings.max_length, max_repeats=None)
    requests = requests_by_length(maker.corpus, settings.batch_seconds)
    requests = requests[accelerator.process_index :: accelerator.num_processes]
    texts: dict[int, str] = {}
    errors: dict[int, str] = {}
    sums: dict[str, tuple[float, int]] = {}
    with torch.inference_mode():
        for batch in read_batches(maker, requests, workers=min(workers, len(requests))):
            errors.update(batch.skipped)
            if batch.indices:
                texts.update(_score_batch(objective, batch.to(accelerator.device), maker, options, sums))
    objective.train()
    parts = gather_object([(texts, errors, sums)])
    scores = [_merge(maker, parts, output, settings) if accelerator.is_main_process else None]
    broadcast_object_list(scores)
    assert scores[0] is not None
    return scores[0]


def mean_bleu(scores: Mapping[str, DirectionScore]) -> float:
    """Return the unweighted mean over directions, as in published tables."""
    return sum(score.bleu for score in scores.values()) / len(scores)


def scores_as_dicts(scores: Mapping[str, DirectionScore]) -> dict[str, dict[str, object]]:
    """Return scores as JSON values."""
    return {direction: asdict(score) for direction, score in scores.items()}


def _score_batch(
    objective: Objective,
    batch: Batch,
    maker: BatchMaker,
    options: SearchOptions,
    sums: dict[str, tuple[float, int]],
) -> dict[int, str]:
    """Return the hypotheses of a batch by index; add its losses to `sums`, (sum, number of tokens) by direction."""
    translator = objective.translator
    cache = translator.cross_attention_cache(batch.waveform_BT, batch.lengths_B)
    positions = slice(translator.decoder.config.max_positions)  # longer references are truncated
    states_BTD = translator.decoder(batch.tokens_BT[:, positions], cache)
    for direction in sorted(set(batch.directions)):
        selected_B = torch.tensor([name == direction for name in batch.directions], device=states_BTD.device)
        labels_BT = batch.labels_BT[:, positions]
        counted_BT = (labels_BT != IGNORED_ID) & selected_B[:, None]
        loss = smoothed_cross_entropy(
            states_BTD[counted_BT], translator.decoder.output_weight, labels_BT[counted_BT], 0.0
        )
        total, count = sums.get(direction, (0.0, 0))
        sums[direction] = (total + float(loss), count + int(counted_BT.sum()))
    tags = [maker.targets[direction.split("-")[1]] for direction in batch.directions]
    results = search(translator.decoder, cache, tags, options)
    return {
        index: maker.tokenizer.decode(hypotheses[0].ids)
        for index, hypotheses in zip(batch.indices, results, strict=True)
    }


def _merge(
    maker: BatchMaker,
    parts: list[tuple[dict[int, str], dict[int, str], dict[str, tuple[float, int]]]],
    output: Path,
    settings: ValidationConfig,
) -> dict[str, DirectionScore]:
    """Merge the results of all processes into scores; write all hypotheses."""
    texts: dict[int, str] = {}
    errors: dict[int, str] = {}
    totals: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for part_texts, part_errors, part_sums in parts:
        texts.update(part_texts)
        errors.update(part_errors)
        for direction, (total, count) in sorted(part_sums.items()):
            totals[direction] = (totals[direction][0] + total, totals[direction][1] + count)
    corpus = maker.corpus
    assert texts.keys() | errors.keys() == set(range(len(corpus)))
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    lines = []
    for index in range(len(corpus)):
        utterance, direction = corpus[index], corpus.direction(index)
        rows[direction].append((texts.get(index, ""), utterance.target_text or ""))
        line = {"id": utterance.id, "direction": direction, "text": texts.get(index, "")}
        lines.append(json.dumps(line | ({"error": errors[index]} if index in errors else {}), ensure_ascii=False))
    write_text(output, "\n".join(lines) + "\n")
    failed = [corpus.direction(index) for index in errors]
    scores = {}
    for direction in sorted(rows):
        hypotheses, references = zip(*rows[direction], strict=True)
        bleu = corpus_bleu(hypotheses, references, direction.split("-")[1])
        total, count = totals[direction]
        scores[direction] = DirectionScore(
            bleu.value,
            total / count if count else float("nan"),
            len(rows[direction]),
            failed.count(direction),
            f"{bleu.signature}|beam:{settings.beam_size}|max_length:{settings.max_length}",
        )
    return scores
