"""What a model folder says about the clips it was trained on."""

import json
from pathlib import Path

import pytest
from transformers import SpeechEncoderDecoderModel

from toy import write_toy_corpus
from training_runs import average, config, run
from voxlate.checkpoints.convert import convert
from voxlate.checkpoints.model_folder import load_checkpoint
from voxlate.checkpoints.training_statistics import (
    COVOST2_STATISTICS,
    TRAINING_FILE,
    TrainingStatistics,
    read_training_statistics,
    stored_training_statistics,
    write_training_statistics,
)
from voxlate.errors import VoxlateError

STATISTICS = TrainingStatistics(2.5, 4.75, 8.0, 2.0, 4.0, 7.5)


def test_a_trained_model_has_the_lengths_of_its_clips_and_so_have_its_average_and_its_copy(tmp_path: Path) -> None:
    toy = tmp_path / "data"
    toy.mkdir()
    write_toy_corpus(toy, train=20, dev=2)
    lines = [json.loads(line) for line in (toy / "train.jsonl").read_text().splitlines()]
    run(config(toy, tmp_path / "run", optimizer__max_updates=4))
    found = read_training_statistics(tmp_path / "run/best")
    seconds = sorted(line["seconds"] for line in lines)
    assert found.max_seconds == pytest.approx(seconds[-1], abs=1e-3)
    assert seconds[9] <= found.median_seconds <= seconds[10]
    assert seconds[-2] <= found.q95_seconds <= seconds[-1]
    tokenizer = load_checkpoint(tmp_path / "run/best").tokenizer
    rates = sorted((len(tokenizer.encode(line["target_text"])) + 1) / line["seconds"] for line in lines)
    assert rates[9] - 1e-3 <= found.median_tokens_per_second <= rates[10] + 1e-3
    assert rates[0] - 1e-3 <= found.q05_tokens_per_second < found.q95_tokens_per_second <= rates[-1] + 1e-3
    average(tmp_path / "run")
    convert(str(tmp_path / "run/averaged"), tmp_path / "copy", [], None)
    for folder in ("run/averaged", "copy"):
        assert (tmp_path / folder / TRAINING_FILE).read_bytes() == (tmp_path / "run/best" / TRAINING_FILE).read_bytes()
    SpeechEncoderDecoderModel.from_pretrained(tmp_path / "copy")


def test_other_models_have_those_of_covost2(tmp_path: Path) -> None:
    assert read_training_statistics(tmp_path) == COVOST2_STATISTICS
    assert stored_training_statistics(tmp_path) is None
    write_training_statistics(tmp_path, STATISTICS)
    assert read_training_statistics(tmp_path) == STATISTICS
    assert json.loads((tmp_path / TRAINING_FILE).read_text()) == {
        "clip_seconds": {"median": 2.5, "q95": 4.75, "max": 8.0},
        "tokens_per_second": {"q05": 2.0, "median": 4.0, "q95": 7.5},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "median of clip_seconds is None; expected a number above 0"),
        ('{"clip_seconds": {"median": "2", "q95": 3, "max": 4}}', "median of clip_seconds is '2'; expected a number"),
        ('{"clip_seconds": {"median": 2, "q95": 3, "max": NaN}}', "max of clip_seconds is nan; expected a number"),
        (
            '{"clip_seconds": {"median": 2, "q95": 3, "max": 1}, '
            '"tokens_per_second": {"q05": 1, "median": 2, "q95": 3}}',
            r"clip_seconds is \{.*\}; expected increasing numbers",
        ),
    ],
)
def test_a_damaged_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / TRAINING_FILE).write_text(text)
    with pytest.raises(VoxlateError, match=message) as caught:
        read_training_statistics(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / TRAINING_FILE))
    assert "\n" not in str(caught.value)
