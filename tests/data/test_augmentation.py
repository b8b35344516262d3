"""What changes in training: the sound (speed, noise, joined clips), and whose translations are learnt."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from media import sine
from toy import write_toy_corpus
from training_runs import config, run, same_files
from voxlate.config.schema import TrainConfig
from voxlate.data.augmentation import Augmentation
from voxlate.data.batch_sampler import BatchSampler, Cost, Joins, SamplerState, clips_of
from voxlate.data.batching import BatchMaker
from voxlate.data.corpus import Limits, read_corpus, read_teacher
from voxlate.errors import VoxlateError
from voxlate.manifest.utterance import Utterance
from voxlate.tokenizer import Tokenizer
from voxlate.training import checkpoint as checkpoints


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_corpus(tmp_path_factory.mktemp("toy"))


def maker(toy: Path, augmentation: Augmentation | None, teacher: dict[str, str] | None = None) -> BatchMaker:
    tokenizer = Tokenizer(toy / "sentencepiece.bpe.model")
    corpus = read_corpus([toy / "train.jsonl"], limits=Limits(), teacher=teacher)
    targets = {language: tokenizer.tag_id("de_DE") for language in corpus.target_languages()}
    return BatchMaker(corpus, tokenizer, targets, normalize=False, augmentation=augmentation)


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_a_faster_clip_is_shorter_and_higher(factor: float) -> None:
    tone_T = sine(400, 2.0).astype(np.float32)
    changed_T = Augmentation(speeds=(factor,)).change(tone_T, (0,))
    assert len(changed_T) == pytest.approx(len(tone_T) / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(changed_T))
    assert int(spectrum.argmax()) * 16_000 / len(changed_T) == pytest.approx(400 * factor, rel=0.01)


def test_noise_is_as_loud_as_it_should_be_and_silence_stays_silent() -> None:
    clip_T = sine(400, 3.0).astype(np.float32)
    augmentation = Augmentation(noise_share=0.5, noise_snr=(10.0, 10.0))
    differences = [augmentation.change(clip_T, (number,)) - clip_T for number in range(200)]
    noisy = [difference_T for difference_T in differences if difference_T.any()]
    assert 70 < len(noisy) < 130
    for difference_T in noisy:
        assert 10 * np.log10(np.mean(clip_T**2) / np.mean(difference_T**2)) == pytest.approx(10, abs=0.1)
    assert not Augmentation(noise_share=1.0).change(np.zeros(800, np.float32), (0,)).any()


def test_a_key_draws_the_same_and_another_one_something_else() -> None:
    clip_T = sine(400, 1.0).astype(np.float32)
    augmentation = Augmentation(speeds=(0.9, 1.0, 1.1), noise_share=1.0, seed=4)
    drawn = [augmentation.change(clip_T, (1, 2, number)) for number in (3, 3, 4)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(Augmentation().change(clip_T, (0,)), clip_T)


def test_joined_clips_are_one_with_their_texts(toy: Path) -> None:
    made = maker(toy, None)
    indices = [0, 5, ~3, 2, ~4]  # 5 and 3 are one, and 2 and 4
    plain = made[(SamplerState(), SamplerState(), np.array([0, 5, 3, 2, 4]))]
    joined = made[(SamplerState(), SamplerState(), np.array(indices))]
    assert joined.indices == (0, 5, 2)
    assert joined.seconds == pytest.approx(plain.seconds)
    clips = [plain.waveform_BT[row, : plain.lengths_B[row]] for row in range(5)]
    for row, expected in enumerate([clips[:1], clips[1:3], clips[3:]]):
        assert torch.equal(joined.waveform_BT[row, : joined.lengths_B[row]], torch.cat(expected))
    texts = [made.corpus[index].target_text for index in (5, 3)]
    labels = [int(label) for label in joined.labels_BT[1] if label > 3]
    assert made.tokenizer.decode(labels) == " ".join(map(str, texts))
    longest = int((plain.tokens_BT != 1).sum(1).max())  # the decoder has no positions for two: both stay
    short = replace(made, max_tokens=longest)[(SamplerState(), SamplerState(), np.array(indices))]
    assert short.indices == plain.indices
    assert not short.unreadable


class Spelled:
    """A tokenizer whose ids are code points."""

    def encode_target(self, text: str, tag_id: int) -> list[int]:
        return [tag_id, *map(ord, text), 2]


@pytest.mark.parametrize(("language", "text"), [("zh", "二三四"), ("ja", "二三四"), ("de", "二三 四")])
def test_joined_texts_are_written_as_their_language_is(toy: Path, language: str, text: str) -> None:
    made = maker(toy, None, {"train-0": "二三", "train-2": "四"})
    renamed: Any = Renamed(made.corpus.manifests[0], language)
    spelled: Any = Spelled()
    made = replace(made, corpus=replace(made.corpus, manifests=(renamed,)), targets={language: 90}, tokenizer=spelled)
    batch = made[(SamplerState(), SamplerState(), np.array([0, ~2]))]
    assert [int(label) for label in batch.labels_BT[0] if label > 2] == [*map(ord, text)]


class Renamed(Sequence[Utterance]):
    """A manifest in another target language."""

    def __init__(self, manifest: Any, language: str) -> None:
        self.manifest, self.language = manifest, language

    def __getitem__(self, index: Any) -> Any:
        return replace(self.manifest[index], target_language=self.language)

    def __len__(self) -> int:
        return len(self.manifest)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_joined_clips_keep_the_budget_the_longest_length_and_the_positions(share: float) -> None:
    rng = np.random.default_rng(3)
    seconds_N, tokens_N, group_N = rng.uniform(1, 18, 3000), rng.integers(4, 60, 3000), rng.integers(0, 3, 3000)
    cost, slowest = Cost(), 1 / 0.9
    plan = BatchSampler(
        seconds_N, tokens_N, group_N, np.bincount(group_N) / 3000, cost, 60.0, 16, 1,
        joins=Joins(share, 20.0, 256), slowest=slowest,
    )  # fmt: skip
    batches = plan.epoch(0)
    made = [clips_of(batch) for batch in batches]
    joined = [unit for units in made for unit in units if len(unit) > 1]
    assert sorted(index for units in made for unit in units for index in unit) == sorted(
        np.concatenate(replace(plan, joins=None).epoch(0)).tolist()  # the same draws
    )
    for unit in joined:
        assert len(unit) == 2
        assert len({group_N[index] for index in unit}) == 1
        assert seconds_N[unit].sum() * slowest <= 20.0
        assert tokens_N[unit].sum() * 4 <= 256
    assert 0.1 * share < len(joined) / 3000 < share
    for units in made:
        seconds = max(seconds_N[unit].sum() * slowest for unit in units)
        tokens = max(tokens_N[unit].sum() for unit in units)
        assert len(units) * cost(seconds, tokens) <= 60.0
    assert [batch.tolist() for batch in plan.epoch(0)] == [batch.tolist() for batch in batches]
    assert [batch.tolist() for batch in plan.epoch(1)] != [batch.tolist() for batch in batches]


def test_no_speed_makes_a_clip_too_long() -> None:
    tone_T = sine(400, 2.0).astype(np.float32)
    slow = Augmentation(speeds=(0.5, 0.8, 1.25), max_seconds=2.6)
    lengths = {len(slow.change(tone_T, (number,))) / 16_000 for number in range(30)}
    assert sorted(lengths) == pytest.approx([1.6, 2.5], abs=1e-3)
    assert len(Augmentation(speeds=(0.5,), max_seconds=2.6).change(tone_T, (0,))) == len(tone_T)


def test_training_with_it_goes_on_to_the_bit_and_in_workers(toy: Path, tmp_path: Path) -> None:
    changes = {
        "augmentation__speeds": [0.9, 1.0, 1.1],
        "augmentation__noise_share": 0.5,
        "augmentation__join_share": 0.5,
    }
    for name, workers in (("whole", 0), ("part", 0), ("workers", 2)):
        run(config(toy, tmp_path / name, data__workers=workers, **changes))
    last = checkpoints.checkpoints(tmp_path / "part")[-1]
    (last / "state.json").write_text("{}")
    run(config(toy, tmp_path / "part", **changes))
    run(config(toy, tmp_path / "plain"))
    assert same_files(tmp_path / "whole", tmp_path / "part", "best/model.safetensors")
    assert same_files(tmp_path / "whole", tmp_path / "workers", "best/model.safetensors")
    assert not same_files(tmp_path / "whole", tmp_path / "plain", "best/model.safetensors")


def test_settings_that_do_not_fit(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"augmentation.noise_snr is \[30.0, 5.0\], expected \[from, to\]"):
        config(toy, tmp_path, augmentation__noise_snr=[30, 5])
    cached = {"trainable__preset": "decoder-only", "trainable__cache_encoder": True}
    with pytest.raises(ValidationError, match="no masking, no augmentation, and sharded=false"):
        config(toy, tmp_path, augmentation__speeds=[0.9], **cached)
    assert isinstance(config(toy, tmp_path, **cached), TrainConfig)


def test_a_teachers_translations_are_learnt_instead(toy: Path, tmp_path: Path) -> None:
    texts = {"train-0": "zwei drei", "train-3": "acht"}
    path = tmp_path / "teacher.jsonl"
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    taught, plain = maker(toy, None, read_teacher([path])), maker(toy, None)
    for index in range(5):
        expected = texts.get(plain.corpus[index].id, plain.corpus[index].target_text)
        assert taught.corpus[index].target_text == expected
        assert taught.corpus[index].source_text == plain.corpus[index].source_text
    assert taught.corpus.tokens_N[0] < plain.corpus.tokens_N[0]
    run(config(toy, tmp_path / "taught", data__teacher=[str(path)]))
    run(config(toy, tmp_path / "plain"))
    assert not same_files(tmp_path / "taught", tmp_path / "plain", "best/model.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "other", "text": "a"}', "data.teacher: has none of the ids of data.train, such as 'other'"),
        ('{"id": "train-0", "text": "a"}\n{"id": "train-0", "text": "b"}', "line 2: train-0: another text was there"),
        ('{"id": "train-0"}', "line 1: expected id and text, got 'train-0' and None"),
    ],
)
def test_teachers_that_cannot_be_learnt_from(toy: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "teacher.jsonl").write_text(text + "\n")
    with pytest.raises(VoxlateError, match=message):
        run(config(toy, tmp_path / "run", data__teacher=[str(tmp_path / "teacher.jsonl")]))
