"""Record the output of plain transformers for the demo model, so that parity can be tested without running it.

    python recipes/demo/transformers_answers.py [--output recipes/demo/transformers_answers.json]

Every bundled clip is translated alone, in float32, into each target language that the model was trained on: by beam
search with the settings of the model's generation_config.json, with all hypotheses that it keeps, and greedily. Samples
of the encoder's states and of the logits of the first step are also recorded. Voxlate is not imported.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers import AutoTokenizer, SpeechEncoderDecoderModel, Wav2Vec2FeatureExtractor

HERE = Path(__file__).resolve().parent
MODEL, CLIPS, ANSWERS = HERE / "model", HERE / "clips", HERE / "transformers_answers.json"
COMMAND = "python recipes/demo/transformers_answers.py"


def answers() -> dict[str, Any]:
    """Return all answers of transformers, with the versions, weights and settings they depend on.

    `ids` start after ``</s>``, the start token, with the language token. `score` is the log probability divided by the
    number of ids, `log_prob` is not divided. `encoder` describes the states (T, 192) after the length adapter, and
    `first_step` the five largest logits after ``</s>`` and the language token.
    """
    model: Any = SpeechEncoderDecoderModel.from_pretrained(MODEL, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    extractor: Any = Wav2Vec2FeatureExtractor.from_pretrained(MODEL)
    records = []
    for clip, target, token in directions():
        inputs = extractor(read_flac(CLIPS / clip), sampling_rate=16_000, return_tensors="pt")
        records.append({"clip": clip, "to": target, **_answer(model, tokenizer, inputs, token)})
    return {
        "command": COMMAND,
        "transformers": transformers.__version__,
        "torch": torch.__version__.partition("+")[0],
        "dtype": "float32",
        "weights_sha256": hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest(),
        "generation_config": json.loads((MODEL / "generation_config.json").read_text(encoding="utf-8")),
        "answers": records,
    }


def directions() -> list[tuple[str, str, int]]:
    """Return clip, target language and its token id, for each clip and direction that the model was trained on."""
    languages = json.loads((MODEL / "languages.json").read_text(encoding="utf-8"))
    pairs = [direction.split("-") for direction in languages["directions"]]
    clips = sorted(path.name for path in CLIPS.glob("*.flac"))
    return [
        (clip, target, languages["targets"][target])
        for clip in clips
        for source, target in pairs
        if clip.startswith(f"{source}-")
    ]


def read_flac(path: Path) -> npt.NDArray[np.float32]:
    """Return the samples of a mono 16 kHz 16-bit FLAC file, shape (T,), between -1 and 1."""
    with av.open(str(path)) as container:
        [stream] = container.streams.audio
        assert (stream.rate, stream.channels, stream.format.name) == (16_000, 1, "s16")
        blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]
    return np.concatenate(blocks).astype(np.float32) / np.float32(32_768)


@torch.inference_mode()
def _answer(model: Any, tokenizer: Any, inputs: Any, token: int) -> dict[str, Any]:
    states_TD = model.encoder(**inputs).last_hidden_state[0]
    first = model(**inputs, decoder_input_ids=torch.tensor([[2, token]])).logits[0, -1].topk(5)
    settings = {"forced_bos_token_id": token, "return_dict_in_generate": True, "output_scores": True}
    beam = model.generation_config.num_beams
    searched = model.generate(**inputs, **settings, num_return_sequences=beam)
    greedy = model.generate(**inputs, **settings, num_beams=1)
    [steps] = model.compute_transition_scores(greedy.sequences, greedy.scores, normalize_logits=True).tolist()
    return {
        "encoder": {
            "shape": list(states_TD.shape),
            "norm": _rounded(states_TD.norm()),
            "first": _rounded(states_TD[0, :4]),
            "last": _rounded(states_TD[-1, :4]),
        },
        "first_step": {"ids": first.indices.tolist(), "logits": _rounded(first.values)},
        "beam": [
            _hypothesis(tokenizer, ids) | {"score": round(score, 6)}
            for ids, score in zip(searched.sequences.tolist(), searched.sequences_scores.tolist(), strict=True)
        ],
        "greedy": _hypothesis(tokenizer, greedy.sequences[0].tolist()) | {"log_prob": round(sum(steps), 6)},
    }


def _hypothesis(tokenizer: Any, sequence: list[int]) -> dict[str, Any]:
    ids = [index for index in sequence[1:] if index != tokenizer.pad_token_id]
    return {"text": tokenizer.decode(ids, skip_special_tokens=True), "ids": ids}


def _rounded(values: torch.Tensor) -> Any:
    return np.round(values.double().numpy(), 6).tolist()


def to_json(recorded: dict[str, Any]) -> str:
    """Return the record as JSON, with each list of numbers in one line."""
    text = json.dumps(recorded, ensure_ascii=False, indent=1)
    return re.sub(r"\[[^][{}]+\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def main() -> None:
    """Parse the command line and write the answers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ANSWERS)
    output: Path = parser.parse_args().output
    output.write_text(to_json(answers()), encoding="utf-8")
    print(output)


if __name__ == "__main__":
    main()
