"""Rankings of several systems: corrected p-values, clusters, and their tables."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxlate.cli import app
from voxlate.errors import VoxlateError
from voxlate_eval.metrics import make_metric, statistics
from voxlate_eval.ranking import holm, rank
from voxlate_eval.significance import compare

WORDS = [f"w{number}" for number in range(200)]


def system(references: list[str], errors: float, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) if rng.random() < errors else w for w in text.split()) for text in references]


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    """References, and systems of which b and c are equally good, a is better and d is worse."""
    rng = random.Random(0)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(4, 12))) for _ in range(200)]
    errors = {"b": (0.3, 1), "d": (0.6, 2), "c": (0.3, 3), "a": (0.1, 4)}
    return {"r": references} | {name: system(references, *given) for name, given in errors.items()}


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


@pytest.mark.parametrize("name", ["bleu", "wer"])
def test_clusters_separate_systems_that_differ(texts: dict[str, list[str]], name: str) -> None:
    metric = make_metric(name, "en")
    sums = [statistics(metric, texts[key], texts["r"]) for key in "bdca"]
    found = rank(metric, sums, samples=400)
    assert [sorted(cluster) for cluster in found.clusters] == [[3], [0, 2], [1]]
    pair = next(pair for pair in found.pairs if (pair.a, pair.b) == (0, 2))
    assert pair.comparison == compare(metric, sums[0], sums[2], samples=400)
    assert pair.p_holm >= pair.comparison.p_randomization
    assert not pair.is_significant
    assert rank(metric, sums[:1]).clusters == [[0]]
    same = rank(metric, [sums[0]] * 3, samples=100)
    assert same.clusters == [[0, 1, 2]]


def test_compare_prints_a_matrix_of_several_systems(texts: dict[str, list[str]], tmp_path: Path) -> None:
    for name, lines in texts.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    words = ["compare", *(str(tmp_path / f"{name}.txt") for name in "bdca")]
    words += ["--references", str(tmp_path / "r.txt"), "--target-language", "en", "--metrics", "bleu"]
    words += ["--samples", "200", "--sentences", "1", "--output", str(tmp_path / "o.json")]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    found = json.loads((tmp_path / "o.json").read_text())
    bleu = found["metrics"]["BLEU"]
    assert [sorted(cluster) for cluster in bleu["clusters"]] == [[3], [0, 2], [1]]
    assert len(bleu["pairs"]) == 6
    assert len(found["sentences"][0]["hypotheses"]) == 4
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in done.stdout.splitlines()
        if line.startswith("│")
    ]
    assert [row[:3] for row in (rows[0], rows[-1])] == [
        ["D", "1", f"{bleu['values'][3]:.2f}"],
        ["B", "3", f"{bleu['values'][1]:.2f}"],
    ]
    assert rows[0][3] == ""
    assert rows[0][-1] == f"{bleu['values'][3] - bleu['values'][1]:+.2f}*"
    assert "with Holm's correction for 6 pairs" in " ".join(done.stdout.split())
    with pytest.raises(VoxlateError, match=r"^1 file of hypotheses; expected 2 to 26$"):
        CliRunner().invoke(app, [words[0], words[1], *words[5:]], catch_exceptions=False)
