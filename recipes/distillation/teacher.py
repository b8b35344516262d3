"""Translate the source texts of manifests by a text translation model: what `data.teacher` lets a speech model learn.

    python recipes/distillation/teacher.py MANIFEST... --model facebook/nllb-200-distilled-600M --output teacher.jsonl
        --from-tag fra_Latn --to-tag eng_Latn

Any sequence-to-sequence model of transformers will do: NLLB, M2M-100 and mBART take their own tags for languages,
Marian's models none. Rerun the command to resume. Sequence-level distillation: Kim and Rush 2016.
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


def sources(manifests: Sequence[Path], done: set[str]) -> list[tuple[str, str]]:
    """Return id and source text of each utterance that is not done, short ones first."""
    found: dict[str, str] = {}
    for manifest in manifests:
        for row in read_manifest(manifest):
            if not row.source_text:
                raise VoxlateError(f"{manifest}: {row.id} has no source_text; a teacher translates nothing else")
            found[row.id] = row.source_text
    return sorted(((name, text) for name, text in found.items() if name not in done), key=lambda row: len(row[1]))


def finished(output: Path) -> set[str]:
    """Return the ids that a file has, and cut off a last line that was not written whole."""
    if not output.exists():
        return set()
    text = output.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        output.write_text(whole, encoding="utf-8")
    return {json.loads(line)["id"] for line in whole.splitlines()}


class Teacher:
    """A loaded text translation model."""

    def __init__(self, model: str, from_tag: str | None, to_tag: str | None, device: str) -> None:
        place = choose_device(device)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        network: Any = AutoModelForSeq2SeqLM.from_pretrained(model, dtype=choose_dtype("auto", place))
        self._network = network.to(place).eval()
        self._stated = network.generation_config.to_diff_dict()
        self._forced: dict[str, int] = {}
        if from_tag is not None:
            self._tokenizer.src_lang = from_tag
        if to_tag is not None:
            tag = self._tokenizer.convert_tokens_to_ids(to_tag)
            if tag == self._tokenizer.unk_token_id:
                raise VoxlateError(f"--to-tag {to_tag}: {model} has no such tag; expected one of its tokenizer")
            self._forced = {"forced_bos_token_id": tag}

    @torch.inference_mode()
    @without_cudnn_attention()
    def translate(self, texts: Sequence[str], beam: int | None = None, max_length: int | None = None) -> list[str]:
        """Return a translation of each text. None is what the model's generation_config.json states, else 5 and 200."""
        settings: dict[str, int] = {"num_beams": beam or self._stated.get("num_beams") or 5}
        if max_length is not None or not {"max_length", "max_new_tokens"} & self._stated.keys():
            settings["max_new_tokens"] = max_length or 200
        encoded = self._tokenizer([*texts], return_tensors="pt", padding=True).to(self._network.device)
        found = self._network.generate(**encoded, **settings, **self._forced)
        return [text.strip() for text in self._tokenizer.batch_decode(found, skip_special_tokens=True)]


def main() -> None:
    """Parse the command line, load, translate, write a line for each utterance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifests", type=Path, nargs="+")
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--from-tag", help="of the source language, as the model names it")
    parser.add_argument("--to-tag", help="of the target language")
    parser.add_argument("--beam", type=int, help="beam size (default: the model's, else 5)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--max-length", type=int, help="most new tokens of a text (default: the model's, else 200)")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    try:
        done = finished(arguments.output)
        todo = sources(arguments.manifests, done)
        if todo:
            teacher = Teacher(arguments.model, arguments.from_tag, arguments.to_tag, arguments.device)
            with arguments.output.open("a", encoding="utf-8") as file:
                for first in range(0, len(todo), arguments.batch_size):
                    rows = todo[first : first + arguments.batch_size]
                    texts = teacher.translate([text for _, text in rows], arguments.beam, arguments.max_length)
                    for (name, _), text in zip(rows, texts, strict=True):
                        file.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
                    file.flush()
    except VoxlateError as error:
        sys.exit(f"error: {error}")
    print(f"{arguments.output}: {len(todo)} translations, {len(done)} already done", file=sys.stderr)


if __name__ == "__main__":
    main()
