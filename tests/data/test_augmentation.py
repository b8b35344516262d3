"""Augmentation (speed, noise, joined clips), and a teacher's translations as training targets."""

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
from training_runs import config, damage_newest_checkpoint, run, same_files
from voxlate.audio.noise import noise
from voxlate.config.schema import TrainConfig
from voxlate.data.augmentation import Augmentation
from voxlate.data.batch_sampler import BatchSampler, ClipJoining, SamplerState, UtteranceCost, split_joined
from voxlate.data.batching import BatchMaker, BatchRequest
from voxlate.data.corpus import LengthLimits, read_corpus, read_teacher
from voxlate.data.joined_clips import MAX_PAUSE_SECONDS, draw_pause, join_clips, speech_span
from voxlate.errors import VoxlateError
from voxlate.manifest.utterance import Utterance
from voxlate.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_corpus(tmp_path_factory.mktemp("toy"))


def maker(toy: Path, augmentation: Augmentation | None, teacher: dict[str, str] | None = None) -> BatchMaker:
    tokenizer = Tokenizer(toy / "sentencepiece.bpe.model")
    corpus = read_corpus([toy / "train.jsonl"], limits=LengthLimits(), teacher=teacher)
    targets = {language: tokenizer.tag_id("de_DE") for language in corpus.target_languages()}
    return BatchMaker(corpus, tokenizer, targets, normalize=False, augmentation=augmentation)


def request(indices: list[int]) -> BatchRequest:
    return BatchRequest(SamplerState(), SamplerState(), np.array(indices))


@pytest.mark.parametrize("factor", [0.9, 1.1, 1.25])
def test_a_faster_clip_is_shorter_and_higher(factor: float) -> None:
    tone_T = sine(400, 2.0).astype(np.float32)
    changed_T = Augmentation(speeds=(factor,)).apply(tone_T, (0,))
    assert len(changed_T) == pytest.approx(len(tone_T) / factor, abs=2)
    spectrum = np.abs(np.fft.rfft(changed_T))
    assert int(spectrum.argmax()) * 16_000 / len(changed_T) == pytest.approx(400 * factor, rel=0.01)


def test_noise_has_the_given_ratio_and_silence_stays_silent() -> None:
    clip_T = sine(400, 3.0).astype(np.float32)
    augmentation = Augmentation(noise_share=0.5, noise_snr=(10.0, 10.0))
    differences = [augmentation.apply(clip_T, (number,)) - clip_T for number in range(200)]
    noisy = [difference_T for difference_T in differences if difference_T.any()]
    assert 70 < len(noisy) < 130
    for difference_T in noisy:
        assert 10 * np.log10(np.mean(clip_T**2) / np.mean(difference_T**2)) == pytest.approx(10, abs=0.1)
    assert not Augmentation(noise_share=1.0).apply(np.zeros(800, np.float32), (0,)).any()


def test_the_same_key_draws_the_same() -> None:
    clip_T = sine(400, 1.0).astype(np.float32)
    augmentation = Augmentation(speeds=(0.9, 1.0, 1.1), noise_share=1.0, seed=4)
    drawn = [augmentation.apply(clip_T, (1, 2, number)) for number in (3, 3, 4)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(Augmentation().apply(clip_T, (0,)), clip_T)


def test_joined_clips_are_one_with_their_texts(toy: Path) -> None:
    made = maker(toy, None)
    indices = [0, 5, ~3, 2, ~4]  # 5 is joined with 3, and 2 with 4
    plain = made[request([0, 5, 3, 2, 4])]
    joined = made[request(indices)]
    assert joined.indices == (0, 5, 2)
    clips = [plain.waveform_BT[row, : plain.lengths_B[row]].numpy() for row in range(5)]
    assert np.array_equal(joined.waveform_BT[0, : joined.lengths_B[0]], clips[0])
    for row, (first_T, second_T) in ((1, clips[1:3]), (2, clips[3:])):
        joined_T = joined.waveform_BT[row, : joined.lengths_B[row]].numpy()
        _, end = speech_span(first_T)
        start, _ = speech_span(second_T)
        assert np.array_equal(joined_T[:end], first_T[:end])
        assert np.array_equal(joined_T[len(joined_T) - len(second_T) + start :], second_T[start:])
        assert 0 <= len(joined_T) - end - (len(second_T) - start) <= 16_000
    assert torch.equal(made[request(indices)].waveform_BT, joined.waveform_BT)
    other = replace(made, augmentation=Augmentation(seed=8))[request(indices)]
    assert other.lengths_B.tolist() != joined.lengths_B.tolist()
    texts = [made.corpus[index].target_text for index in (5, 3)]
    labels = [int(label) for label in joined.labels_BT[1] if label > 3]
    assert made.tokenizer.decode(labels) == " ".join(map(str, texts))
    longest = int((plain.tokens_BT != 1).sum(1).max())  # too few positions for two: they are not joined
    short = replace(made, max_tokens=longest)[request(indices)]
    assert short.indices == plain.indices
    assert not short.skipped


class CodePointTokenizer:
    """A tokenizer whose ids are code points."""

    pad_id, eos_id = 1, 2

    def encode_target(self, text: str, tag_id: int) -> list[int]:
        return [tag_id, *map(ord, text), 2]


@pytest.mark.parametrize(("language", "text"), [("zh", "二三四"), ("ja", "二三四"), ("de", "二三 四")])
def test_joined_texts_have_spaces_only_if_their_language_does(toy: Path, language: str, text: str) -> None:
    made = maker(toy, None, {"train-0": "二三", "train-2": "四"})
    renamed: Any = OtherLanguage(made.corpus.manifests[0], language)
    tokenizer: Any = CodePointTokenizer()
    made = replace(made, corpus=replace(made.corpus, manifests=(renamed,)), targets={language: 90}, tokenizer=tokenizer)
    batch = made[request([0, ~2])]
    assert [int(label) for label in batch.labels_BT[0] if label > 2] == [*map(ord, text)]


class OtherLanguage(Sequence[Utterance]):
    """A manifest in another target language."""

    def __init__(self, manifest: Any, language: str) -> None:
        self.manifest, self.language = manifest, language

    def __getitem__(self, index: Any) -> Any:
        return replace(self.manifest[index], target_language=self.language)

    def __len__(self) -> int:
        return len(self.manifest)


def test_batches_of_joined_clips_cost_no_more_than_planned(toy: Path) -> None:
    speeds = (0.9, 1.0, 1.1)
    made = maker(toy, Augmentation(speeds=speeds, noise_share=0.5))
    corpus, cost, groups = made.corpus, UtteranceCost(), len(made.corpus.directions)
    shares_G = np.full(groups, 1 / groups)
    batch_sampler = BatchSampler(
        corpus.seconds_N, corpus.tokens_N, corpus.direction_N, shares_G, cost, 20.0, 4, 1,
        joining=ClipJoining(0.9, 20.0), max_stretch=1 / min(speeds),
    )  # fmt: skip
    joined, costs = 0, []
    for epoch in range(3):
        for number, indices in enumerate(batch_sampler.epoch(epoch)):
            batch = made[BatchRequest(SamplerState(epoch, number, number), SamplerState(), indices)]
            joined += len(indices) - len(batch.indices)
            costs.append(len(batch.indices) * cost(batch.waveform_BT.shape[1] / 16_000, batch.labels_BT.shape[1]))
    assert joined > 10
    assert 15.0 < max(costs) <= 20.0


def test_pauses_are_as_drawn_and_silence_at_edges_is_removed() -> None:
    rng = np.random.default_rng(0)
    tone_T = sine(400, 1.0).astype(np.float32)
    clips = [np.pad(tone_T, (before, after)) + 1e-4 * noise(16_000 + before + after, rng)
             for before, after in ((8_000, 4_000), (3_200, 1_600), (0, 800))]  # fmt: skip
    assert speech_span(clips[0]) == (8_000, 24_000)
    joined_T, spans = join_clips(clips, [0.0, 0.5], rng)
    assert spans == [(24_000, 24_000), (40_000, 48_000)]
    assert len(joined_T) == 48_000 + 16_800
    levels = [float(np.sqrt(np.mean(np.square(part_T)))) for part_T in (joined_T[40_000:48_000], clips[1][:3_000])]
    assert levels[0] == pytest.approx(levels[1], rel=0.5)  # the pause is not digital silence
    assert speech_span(np.zeros(100, np.float32)) == (0, 100)
    assert speech_span(np.zeros(1_600, np.float32)) == (0, 1_600)
    drawn = np.array([draw_pause(rng) for _ in range(2_000)])
    assert 0.1 < np.mean(drawn == 0) < 0.2
    assert drawn.max() <= MAX_PAUSE_SECONDS
    assert np.mean(drawn > 0.35) > 0.3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_joined_clips_respect_all_limits(share: float) -> None:
    rng = np.random.default_rng(3)
    seconds_N, tokens_N, group_N = rng.uniform(1, 18, 3000), rng.integers(4, 60, 3000), rng.integers(0, 3, 3000)
    cost, stretch = UtteranceCost(), 1 / 0.9
    batch_sampler = BatchSampler(
        seconds_N, tokens_N, group_N, np.bincount(group_N) / 3000, cost, 60.0, 16, 1,
        joining=ClipJoining(share, 20.0, 256), max_stretch=stretch,
    )  # fmt: skip
    batches = batch_sampler.epoch(0)
    clips = [split_joined(batch) for batch in batches]
    joined = [clip for batch in clips for clip in batch if len(clip) > 1]
    assert sorted(index for batch in clips for clip in batch for index in clip) == sorted(
        np.concatenate(replace(batch_sampler, joining=None).epoch(0)).tolist()  # the same draws
    )
    for clip in joined:
        assert len(clip) == 2
        assert len({group_N[index] for index in clip}) == 1
        assert seconds_N[clip].sum() * stretch + 1 <= 20.0  # with the longest pause
        assert tokens_N[clip].sum() * 4 <= 256
    assert 0.1 * share < len(joined) / 3000 < share
    for batch in clips:
        seconds = max(seconds_N[clip].sum() * stretch + len(clip) - 1 for clip in batch)
        tokens = max(tokens_N[clip].sum() for clip in batch)
        assert len(batch) * cost(seconds, tokens) <= 60.0
    assert [each.tolist() for each in batch_sampler.epoch(0)] == [each.tolist() for each in batches]
    assert [each.tolist() for each in batch_sampler.epoch(1)] != [each.tolist() for each in batches]


def test_slow_speeds_do_not_exceed_the_maximum_length() -> None:
    tone_T = sine(400, 2.0).astype(np.float32)
    slow = Augmentation(speeds=(0.5, 0.8, 1.25), max_seconds=2.6)
    lengths = {len(slow.apply(tone_T, (number,))) / 16_000 for number in range(30)}
    assert sorted(lengths) == pytest.approx([1.6, 2.5], abs=1e-3)
    assert len(Augmentation(speeds=(0.5,), max_seconds=2.6).apply(tone_T, (0,))) == len(tone_T)


def test_augmented_training_resumes_exactly_and_does_not_depend_on_workers(toy: Path, tmp_path: Path) -> None:
    changes = {
        "augmentation__speeds": [0.9, 1.0, 1.1],
        "augmentation__noise_share": 0.5,
        "augmentation__join_share": 0.5,
    }
    for name, workers in (("full", 0), ("part", 0), ("workers", 2)):
        run(config(toy, tmp_path / name, data__num_workers=workers, **changes))
    damage_newest_checkpoint(tmp_path / "part")
    run(config(toy, tmp_path / "part", **changes))
    run(config(toy, tmp_path / "plain"))
    assert same_files(tmp_path / "full", tmp_path / "part", "best/model.safetensors")
    assert same_files(tmp_path / "full", tmp_path / "workers", "best/model.safetensors")
    assert not same_files(tmp_path / "full", tmp_path / "plain", "best/model.safetensors")


def test_invalid_combinations_of_settings(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"augmentation.noise_snr is \[30.0, 5.0\], expected \[from, to\]"):
        config(toy, tmp_path, augmentation__noise_snr=[30, 5])
    cached = {"trainable__preset": "decoder-only", "trainable__cache_encoder": True}
    with pytest.raises(ValidationError, match="no masking, no augmentation, and sharded=false"):
        config(toy, tmp_path, augmentation__speeds=[0.9], **cached)
    assert isinstance(config(toy, tmp_path, **cached), TrainConfig)


def test_the_texts_of_a_teacher_replace_the_translations(toy: Path, tmp_path: Path) -> None:
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
        ('{"id": "other", "text": "a"}', "data.teacher: none of its ids, such as 'other', occurs in data.train"),
        (
            '{"id": "train-0", "text": "a"}\n{"id": "train-0", "text": "b"}',
            "line 2: train-0 already has a different text",
        ),
        ('{"id": "train-0"}', "line 1: expected id and text, got 'train-0' and None"),
    ],
)
def test_invalid_texts_of_a_teacher(toy: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "teacher.jsonl").write_text(text + "\n")
    with pytest.raises(VoxlateError, match=message):
        run(config(toy, tmp_path / "run", data__teacher=[str(tmp_path / "teacher.jsonl")]))
