"""Translate the source texts of manifests with a text translation model, as targets for training (`data.teacher`).

    python recipes/distillation/teacher.py MANIFEST... --model facebook/nllb-200-distilled-600M --output teacher.jsonl
        --from-tag fra_Latn --to-tag eng_Latn

The model is any sequence-to-sequence model of transformers. NLLB, M2M-100 and mBART need their own language tags;
Marian models need none. Rerun the command to resume. Sequence-level distillation: Kim and Rush 2016.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from voxlate.errors import VoxlateError
from voxlate.hardware import choose_device, choose_dtype, without_cudnn_attention
from voxlate.manifest.reading import read_manifest


def read_sources(manifests: Sequence[Path], done: set[str]) -> list[tuple[str, str]]:
    """Return id and source text of each utterance whose id is not in `done`, shortest text first.

    VoxlateError names an utterance without source text.
    """
    texts: dict[str, str] = {}
    for manifest in manifests:
        for row in read_manifest(manifest):
            if not row.source_text:
                raise VoxlateError(f"{manifest}: {row.id} has no source_text, which the teacher translates")
            texts[row.id] = row.source_text
    return sorted(((name, text) for name, text in texts.items() if name not in done), key=lambda row: len(row[1]))


def read_finished_ids(output: Path) -> set[str]:
    """Return the ids in an output file. Remove an incomplete last line, which an interruption may leave."""
    if not output.exists():
        return set()
    text = output.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        output.write_text(complete, encoding="utf-8")
    return {json.loads(line)["id"] for line in complete.splitlines()}


class Teacher:
    """A text translation model. `from_tag` and `to_tag` are language tags of its tokenizer, if it needs them.

    VoxlateError if the tokenizer has no token `to_tag`.
    """

    def __init__(self, model: str, from_tag: str | None, to_tag: str | None, device: str) -> None:
        torch_device = choose_device(device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        network: Any = AutoModelForSeq2SeqLM.from_pretrained(model, dtype=choose_dtype("auto", torch_device))
        self._network = network.to(torch_device).eval()
        self._defaults = network.generation_config.to_diff_dict()
        self._forced: dict[str, int] = {}
        if from_tag is not None:
            self._tokenizer.src_lang = from_tag
        if to_tag is not None:
            token_id = self._tokenizer.convert_tokens_to_ids(to_tag)
            if token_id == self._tokenizer.unk_token_id:
                raise VoxlateError(
                    f"--to-tag {to_tag}: {model} has no such tag; expected a language tag of its tokenizer"
                )
            self._forced = {"forced_bos_token_id": token_id}

    @torch.inference_mode()
    @without_cudnn_attention()
    def translate(self, texts: Sequence[str], beam_size: int | None = None, max_length: int | None = None) -> list[str]:
        """Return a translation of each text. None stands for the model's generation_config.json, else 5 and 200."""
        settings: dict[str, int] = {"num_beams": beam_size or self._defaults.get("num_beams") or 5}
        if max_length is not None or not {"max_length", "max_new_tokens"} & self._defaults.keys():
            settings["max_new_tokens"] = max_length or 200
        encoded = self._tokenizer([*texts], return_tensors="pt", padding=True).to(self._network.device)
        ids = self._network.generate(**encoded, **settings, **self._forced)
        return [text.strip() for text in self._tokenizer.batch_decode(ids, skip_special_tokens=True)]


def main() -> None:
    """Parse the command line, load the model, and write one line per utterance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--from-tag", help="source language tag of the model's tokenizer")
    parser.add_argument("--to-tag", help="target language tag of the model's tokenizer")
    parser.add_argument("--beam-size", type=int, help="beam size (default: the model's, else 5)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--max-length", type=int, help="maximum number of new tokens per text (default: the model's, else 200)"
    )
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    try:
        done = read_finished_ids(arguments.output)
        todo = read_sources(arguments.manifests, done)
        if todo:
            teacher = Teacher(arguments.model, arguments.from_tag, arguments.to_tag, arguments.device)
            with arguments.output.open("a", encoding="utf-8") as file:
                for first in range(0, len(todo), arguments.batch_size):
                    rows = todo[first : first + arguments.batch_size]
                    texts = teacher.translate([text for _, text in rows], arguments.beam_size, arguments.max_length)
                    for (name, _), text in zip(rows, texts, strict=True):
                        file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
                    file.flush()
    except VoxlateError as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.output}: {len(todo)} translations, {len(done)} already done", file=sys.stderr)


if __name__ == "__main__":
    main()
