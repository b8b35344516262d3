"""Damaged files in a model folder give a message of one line: the file, what was found, what was expected."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Model

from tiny import write_encoder, write_mbart, write_tokenizer_json
from voxlate.checkpoints.ctc_files import read_ctc, write_ctc
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.checkpoints.shortlist import find_shortlists, make_shortlist
from voxlate.checkpoints.warm_start import start_model
from voxlate.errors import VoxlateError
from voxlate.files import write_text

HUGE = 2_147_483_648


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def refused(folder: Path, message: str, load: Callable[[Path], object] = load_checkpoint) -> None:
    with pytest.raises(VoxlateError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def edit(path: Path, part: str | None = None, **fields: Any) -> None:
    stored = json.loads(path.read_text())
    (stored if part is None else stored[part]).update(fields)
    path.write_text(json.dumps(stored))


CONFIGS: list[tuple[str, dict[str, object], str]] = [
    ("encoder", {"hidden_size": "32"}, r"encoder\.hidden_size: expected a valid integer, got '32'"),
    ("encoder", {"hidden_size": None}, r"encoder\.hidden_size: expected a valid integer, got None"),
    ("encoder", {"hidden_size": -32}, r"encoder\.hidden_size: expected greater than or equal to 1, got -32"),
    ("encoder", {"num_hidden_layers": 900}, "num_hidden_layers is 900, but the weights hold 134 tensors in all"),
    ("encoder", {"num_adapter_layers": 900}, "adapter layers is 900, but the weights hold"),
    ("encoder", {"num_attention_heads": 5}, "hidden_size 32 is not a multiple of num_attention_heads 5"),
    ("encoder", {"conv_stride": [5, 2]}, r"conv_dim, conv_stride and conv_kernel have \[7, 2, 7\] values"),
    ("encoder", {"conv_stride": [HUGE] * 7}, r"encoder\.conv_stride\.0: expected less than or equal to"),
    ("encoder", {"conv_stride": [99] * 7}, "a conv_stride is greater than its conv_kernel"),
    ("encoder", {"conv_kernel": {"a": 1}}, r"encoder\.conv_kernel: expected a valid list"),
    ("encoder", {"hidden_act": "gelo"}, r"encoder\.hidden_act: unknown activation; .*, got 'gelo'"),
    ("encoder", {"layer_norm_eps": float("nan")}, r"encoder\.layer_norm_eps: expected a finite number, got nan"),
    ("encoder", {"model_type": ["wav2vec2"]}, "encoder has no model_type; expected the config of a speech encoder"),
    ("encoder", {"model_type": "x" * 9000}, r"unknown speech encoder 'xxx.*…; known: hubert"),
    ("encoder", {"intermediate_size": 64}, r"with the wrong shape: .*expected \(64, 32\)"),
    ("decoder", {"decoder_layers": HUGE}, r"decoder\.decoder_layers: expected less than or equal to 1000"),
    ("decoder", {"decoder_layers": 900}, r"decoder\.decoder_layers is 900, but the weights hold"),
    ("decoder", {"vocab_size": 10**30}, r"decoder\.vocab_size: expected less than or equal to"),
    ("decoder", {"scale_embedding": 1}, r"decoder\.scale_embedding: expected true or false, got 1"),
    ("decoder", {"activation_function": 7}, r"decoder\.activation_function: expected a valid string, got 7"),
    ("decoder", {"dropout": 3}, r"decoder\.dropout: expected less than or equal to 1, got 3"),
]


@pytest.mark.parametrize(("part", "fields", "message"), CONFIGS, ids=[f"{c[0]} {next(iter(c[1]))}" for c in CONFIGS])
def test_a_config_with_wrong_values(folder: Path, part: str, fields: dict[str, object], message: str) -> None:
    edit(folder / "config.json", part, **fields)
    refused(folder, message)


def test_unusual_but_valid_configs(folder: Path) -> None:
    """Integers as floats, unknown keys and fields of heads do not change the network."""
    expected = load_checkpoint(folder).model
    edit(folder / "config.json", "encoder", hidden_size=32.0, layerdrop=0, torch_dtype=None, mystery=[{}], tdnn_dim=4.5)
    edit(folder / "config.json", "decoder", d_model=32.0, dropout=0, dtype="float16", encoder_layers=HUGE)
    edit(folder / "config.json", torch_dtype="float16", dtype=None, mystery={"a": None})
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + (folder / "config.json").read_bytes())
    found = load_checkpoint(folder).model
    assert found.state_dict().keys() == expected.state_dict().keys()
    assert found.decoder.config.width == 32


TEXTS: list[tuple[str, bytes, str]] = [
    ("config.json", b"[" * 100_000, "nested too deeply; expected a plain JSON object"),
    ("config.json", b'{"a": 1, "a": 2}', r"not JSON \(the key 'a' occurs twice\)"),
    ("config.json", '{"a": 1}'.encode("utf-16"), "is not UTF-8"),
    ("config.json", b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    ("config.json", b'{"model_type": "speech-encoder-decoder", "decoder": 3}', "with decoder None; expected 'speech-"),
    ("preprocessor_config.json", b'{"do_normalize": "no"}', "do_normalize is 'no'; expected true or false"),
    ("preprocessor_config.json", b'{"feature_extractor": []}', r"feature_extractor is \[\]; expected an object"),
    ("preprocessor_config.json", b'{"sampling_rate": 8000}', "sampling_rate is 8000; expected 16000 samples a second"),
    ("languages.json", b'{"targets": {"de": "51"}}', "the id of de is '51'; expected a whole number such as 250003"),
    ("languages.json", b'{"targets": {"de": true}}', "the id of de is True"),
    ("languages.json", b'{"targets": {"zh": 51, "zh-CN": 52}}', r"Chinese \(zh\) occurs twice"),
    ("languages.json", b'{"targets": {"de": 7}}', "token 7 of de is not a language tag; expected an id from 49 to 101"),
    ("languages.json", b'{"targets": {}}', r'expected \{"targets"'),
    ("model.safetensors", b"\xff" * 40, "an incomplete safetensors file"),
    ("sentencepiece.bpe.model", b"\x0a\x05\x0a\x03\xff\xfe\xfd", "not a SentencePiece model"),
]


@pytest.mark.parametrize(("name", "content", "message"), TEXTS, ids=[f"{t[0]} {t[1][:20]!r}" for t in TEXTS])
def test_a_file_with_wrong_content(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    refused(folder, message)


@pytest.mark.parametrize("name", ["config.json", "languages.json", "preprocessor_config.json", "tokenizer.json"])
def test_pipes_and_devices_are_refused_at_once(folder: Path, name: str) -> None:
    if name == "tokenizer.json":
        (folder / "sentencepiece.bpe.model").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    refused(folder, rf"{name}: a pipe, not a regular file; expected a JSON file")


INDICES: list[tuple[Any, str]] = [
    ([], "expected a JSON object, got list"),
    ({}, r'expected \{"weight_map": \{"TENSOR": "FILE", …\}\}; fetch it again'),
    ({"weight_map": {"a": 3}}, r'expected \{"weight_map"'),
    ({"weight_map": {"a": "../../etc/passwd.safetensors"}}, r"shards are missing: \.\./\.\./etc/passwd"),
    ({"weight_map": {"a": "x" * 5000 + ".safetensors"}}, "shards are missing: xxx"),
    ({"weight_map": {"a": "model.bin"}}, r"names the shard 'model\.bin'; expected files that end in \.safetensors"),
    ({"weight_map": {"a": "one.safetensors"}}, "does not list all tensors of its shards, such as"),
]


@pytest.mark.parametrize(("index", "message"), INDICES)
def test_a_damaged_index_of_shards(folder: Path, index: Any, message: str) -> None:
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, rf"model\.safetensors\.index\.json: {message}")


def test_an_index_that_lists_a_tied_tensor_twice(folder: Path) -> None:
    names = [*load_file(folder / "model.safetensors")]
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    tied = ["decoder.lm_head.weight", "decoder.model.decoder.embed_tokens.weight"]
    assert len({*tied} - {*names}) == 1  # as converters write it
    files = dict.fromkeys([*names, *tied], "one.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert load_checkpoint(folder).folder == folder


def test_a_tensor_in_two_shards(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    name = next(iter(tensors))
    save_file({name: tensors[name] + 1}, folder / "two.safetensors")
    files = {**dict.fromkeys(tensors, "one.safetensors"), name: "two.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    refused(folder, rf"two\.safetensors: '{name}' is in another shard, too")


NORM = "decoder.model.decoder.layer_norm.weight"
TENSORS: list[tuple[torch.Tensor, str]] = [
    (torch.ones(32).to_sparse(), rf"'{NORM}' is a sparse_coo tensor on cpu; expected plain tensors"),
    (torch.ones(32, device="meta"), rf"'{NORM}' is a strided tensor on meta; expected plain tensors"),
    (torch.ones(1).expand(10**9, 10**5), rf"'{NORM}' is \(1000000000, 100000\), more than the .* bytes of the file"),
    (
        torch.ones(32, dtype=torch.complex64),
        "1 with the wrong dtype: .* is complex64, expected float32",
    ),
    (torch.ones(32, dtype=torch.int8), "1 with the wrong dtype: .* is int8, expected float32"),
]


@pytest.mark.parametrize(("tensor", "message"), TENSORS, ids=[text[:30] for _, text in TENSORS])
def test_tensors_that_are_not_plain(folder: Path, tensor: torch.Tensor, message: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**tensors, NORM: tensor}, folder / "pytorch_model.bin")
    refused(folder, message)


def test_damaged_archives_of_tensors(folder: Path) -> None:
    path, tensors = folder / "pytorch_model.bin", load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, path)
    intact = path.read_bytes()
    unknown = intact.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v9")
    for damaged in (intact[:5000], intact[5000:], b"", b"PK\x03\x04" * 50, unknown):
        path.write_bytes(damaged)
        refused(folder, r"pytorch_model\.bin: (not a PyTorch weights file|holds Python objects)")
    path.write_bytes(intact)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    refused(folder, r"pytorch_model\.bin: has compressed files, which torch\.save does not write")
    torch.save({3: torch.ones(1)}, path)
    refused(folder, r"pytorch_model\.bin: expected a table of tensors by name, got other keys")


TOKENIZERS: list[tuple[dict[str, Any], str]] = [
    ({"model": []}, r"not a unigram tokenizer \(model\.vocab is not a list\)"),
    ({"model": {"type": "Unigram", "vocab": {"ab": 1}}}, r"not a unigram tokenizer \(model\.vocab is not a list\)"),
    ({"model": {"type": "Unigram", "vocab": [["<s>", 0.0], 7]}}, "model.vocab holds 7; expected pieces such as"),
    ({"model": {"type": "Unigram", "vocab": [["<s>", 0.0], ["<s>", 0.0]]}}, "model.vocab holds the same piece twice"),
    ({"model": {"type": "Unigram", "vocab": [["<s>", float("nan")]]}}, "model.vocab holds"),
    ({"pre_tokenizer": {"type": "Nothing"}}, "not a tokenizer"),
    ({"decoder": 3}, "not a tokenizer"),
]


@pytest.mark.parametrize(("fields", "message"), TOKENIZERS, ids=[message for _, message in TOKENIZERS])
def test_a_damaged_tokenizer(folder: Path, vocabulary: Path, fields: dict[str, Any], message: str) -> None:
    (folder / "sentencepiece.bpe.model").unlink()
    edit(write_tokenizer_json(folder / "tokenizer.json", vocabulary), **fields)
    refused(folder, rf"tokenizer\.json: {message}")


def test_parts_of_a_new_model(tmp_path: Path, vocabulary: Path) -> None:
    def start(_: Path) -> object:
        return start_model(tmp_path / "encoder", tmp_path / "mbart")

    write_encoder(tmp_path / "encoder", Wav2Vec2Model)
    write_mbart(tmp_path / "mbart", vocabulary)
    edit(tmp_path / "mbart/config.json", decoder_layers=900)
    refused(tmp_path, r"mbart/config\.json: decoder_layers is 900, but the weights hold \d+ tensors", start)
    edit(tmp_path / "mbart/config.json", decoder_layers=2, decoder_attention_heads=[4])
    refused(tmp_path, r"mbart/config\.json: decoder_attention_heads: expected a valid integer, got \[4\]", start)
    edit(tmp_path / "mbart/config.json", decoder_attention_heads=4)
    edit(tmp_path / "encoder/config.json", num_hidden_layers=HUGE)
    refused(tmp_path, r"encoder/config\.json: num_hidden_layers: expected less than or equal to 1000", start)
    edit(tmp_path / "encoder/config.json", num_hidden_layers=3)
    refused(tmp_path, r"encoder: the weights do not fit the config; \d+ missing", start)


def test_a_damaged_ctc_head(tmp_path: Path) -> None:
    path = tmp_path / "ctc.safetensors"
    good = {"projection.weight": torch.ones(3, 4), "projection.bias": torch.ones(3)}
    for tensors, metadata, message in (
        (good, {"characters": "abc"}, r"3 characters and the blank are 4 labels, but the weight is \(3, 4\)"),
        (good, {"characters": "aa"}, "its metadata has no list of distinct characters"),
        (good, None, "its metadata has no list of distinct characters"),
        (
            {"projection.weight": torch.ones(3, 4)},
            {"characters": "ab"},
            ".*; expected projection.weight and projection.bias",
        ),
    ):
        save_file(tensors, path, metadata=metadata)
        refused(tmp_path, rf"ctc\.safetensors: {message}", read_ctc)
    path.write_bytes(b"{}")
    refused(tmp_path, r"ctc\.safetensors: an incomplete safetensors file", read_ctc)
    write_ctc(tmp_path, good, {"a": 1, "b": 2})
    assert (read_ctc(tmp_path) or ({}, {}))[1] == {"a": 1, "b": 2}


def test_a_damaged_shortlist(folder: Path) -> None:
    tokenizer = load_checkpoint(folder).tokenizer
    made = make_shortlist("de", ["der zug"], tokenizer)

    def find(_: Path) -> object:
        return find_shortlists(folder, tokenizer, ["de"])

    def write(**fields: object) -> None:
        good = {"language": "de", "vocabulary_sha256": made.vocabulary_sha256, "ids": made.ids}
        write_text(folder / "shortlists/de.json", json.dumps(good | fields))

    for ids in ([], ["7"], [True], [-1], "7", None):
        write(ids=ids)
        refused(folder, r"shortlists/de\.json: not a file written by voxlate prepare shortlist; expected", find)
    write(ids=[*range(5), HUGE])
    refused(
        folder, r"shortlists/de\.json: its ids are not those of .*; create it with: voxlate prepare shortlist", find
    )
    write(language="fr")
    refused(folder, r"shortlists/de\.json: is for 'fr', expected de", find)
    (folder / "shortlists/de.json").write_text("[")
    refused(folder, r"shortlists/de\.json: not JSON", find)
    write()
    assert find_shortlists(folder, tokenizer, ["de"])["de"].ids == made.ids
