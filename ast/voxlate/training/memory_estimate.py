"""Count parameters, and estimate the memory that training needs."""

from torch import nn

from voxlate.config.schema import TrainConfig
from voxlate.training.objective import Objective


def count_parameters(objective: nn.Module) -> list[tuple[str, int, int]]:
    """Return name, number of parameters, and number of trained ones for each part of the model, and for "all"."""
    rows: dict[str, list[int]] = {}
    for name, parameter in objective.named_parameters():
        part = name.removeprefix("translator.").split(".")[0]
        for key in (part, "all"):
            counts = rows.setdefault(key, [0, 0])
            counts[0] += parameter.numel()
            counts[1] += parameter.numel() * parameter.requires_grad
    rows["all"] = rows.pop("all")
    return [(part, total, trained) for part, (total, trained) in rows.items()]


def estimate_memory(
    config: TrainConfig, objective: Objective, processes: int, batch_seconds: float
) -> dict[str, float]:
    """Estimate the GiB that each process needs: weights, gradients and moments exactly, activations roughly.

    Activations are about 34 values of the layer's width per frame and transformer layer, and 44 per token in layers
    with cross-attention (after Korthikanti et al. 2022), in the dtype of training; with gradient checkpointing, only
    the input of each layer. A batch is assumed to have `batch_seconds` of audio and three tokens per second.
    """
    _, total, trained = count_parameters(objective)[-1]
    shards = processes if config.sharded else 1
    value_bytes = 4 if config.precision == "float32" else 2
    copied_bytes = 2 if config.has_working_copy else 0
    encoder, decoder = objective.translator.encoder, objective.translator.decoder
    frames = batch_seconds * 50
    layers = int(encoder.config.num_hidden_layers)
    per_frame = encoder.output_dim * (1 if config.gradient_checkpointing else 34)
    tokens = batch_seconds * 3
    per_token = decoder.config.width * (1 if config.gradient_checkpointing else 44)
    activations = (frames * layers * per_frame + tokens * decoder.config.layers * per_token) * value_bytes
    front_end = batch_seconds * 3200 * 512 * value_bytes * (12 if config.trainable.feature_encoder else 3)
    return {
        "weights": total * (4 + copied_bytes) / shards / 2**30,
        "gradients": trained * (4 + copied_bytes) / shards / 2**30,
        "moments": trained * 8 / shards / 2**30,
        "activations": (activations + front_end) / 2**30,
    }
