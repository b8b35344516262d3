"""Intervals and significance tests are correct where the answer is known, stable between seeds, fast and small."""

import json
import random
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from sacrebleu import BLEU
from sacrebleu.significance import PairedTest, Result

from paths import ROOT
from voxlate_eval.metrics import Sums, make_metric, statistics
from voxlate_eval.significance import compare, interval

WORDS = [f"w{number}" for number in range(300)]


def system(references: list[str], errors: float, seed: int) -> list[str]:
    """Return the references with this share of their words replaced."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < errors else word for word in text.split()) for text in references
    ]


@pytest.fixture(scope="module")
def references() -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 15))) for _ in range(600)]


@pytest.fixture(scope="module")
def bleu_pairs(references: list[str]) -> Callable[[float], tuple[Sums, Sums]]:
    """Return the BLEU statistics of a system with 30 % wrong words and of one with the given share."""
    metric = make_metric("bleu", "en")

    def pair(errors: float) -> tuple[Sums, Sums]:
        shares = ((0.3, 1), (errors, 2))
        a, b = (statistics(metric, system(references, share, seed), references) for share, seed in shares)
        return a, b

    return pair


@pytest.mark.parametrize(
    "errors", [pytest.param(0.30, marks=pytest.mark.slow), 0.315, pytest.param(0.33, marks=pytest.mark.slow)]
)
def test_p_values_agree_between_seeds(bleu_pairs: Callable[[float], tuple[Sums, Sums]], errors: float) -> None:
    metric, (a, b) = make_metric("bleu", "en"), bleu_pairs(errors)
    found = [compare(metric, a, b, seed=seed) for seed in range(3)]
    p = np.mean([one.p_bootstrap for one in found])
    noise = (p * (1 - p) / found[0].samples) ** 0.5  # standard error of a share; at most 0.005
    assert found[0].samples == 10_000
    assert np.ptp([one.p_bootstrap for one in found]) <= 6 * noise <= 0.03
    assert np.ptp([one.p_randomization for one in found]) <= 6 * noise
    assert found[0].p_randomization == pytest.approx(found[0].p_bootstrap, abs=0.05)
    assert all(one.low < one.difference < one.high for one in found)


def test_the_bootstrap_p_value_is_the_share_of_samples_that_are_as_extreme(references: list[str]) -> None:
    metric = make_metric("chrf", "en")
    a, b = (statistics(metric, system(references[:60], share, 3), references[:60]) for share in (0.3, 0.36))
    difference = metric.value(a.sum(axis=0)) - metric.value(b.sum(axis=0))
    rng = np.random.default_rng(5)
    drawn = rng.integers(60, size=(60_000, 60))
    values = np.array([metric.value(a[rows].sum(axis=0)) - metric.value(b[rows].sum(axis=0)) for rows in drawn])
    counted = np.mean(np.abs(values - values.mean()) >= abs(difference))
    assert 0.001 < counted < 0.5
    assert compare(metric, a, b).p_bootstrap == pytest.approx(counted, abs=0.015)


def test_sacrebleus_paired_bootstrap_gives_about_half_the_p_value(
    references: list[str], bleu_pairs: Callable[[float], tuple[Sums, Sums]]
) -> None:
    """eval/README.md explains why, with these numbers."""
    ours = compare(make_metric("bleu", "en"), *bleu_pairs(0.315))
    systems: list[tuple[str, Sequence[str]]] = [("B", system(references, 0.315, 2)), ("A", system(references, 0.3, 1))]
    theirs = {}
    for test in ("bs", "ar"):
        _, results = PairedTest(systems, {"BLEU": BLEU()}, [references], test_type=test)()
        result = results["BLEU"][1]
        assert isinstance(result, Result)
        theirs[test] = result.p_value
    readme = " ".join((ROOT / "eval/README.md").read_text(encoding="utf-8").split())
    assert f"| paired bootstrap | {ours.p_bootstrap:.3f} | {theirs['bs']:.3f} |" in readme
    assert f"| approximate randomization | {ours.p_randomization:.3f} | {theirs['ar']:.3f} |" in readme
    assert theirs["bs"] == pytest.approx(ours.p_bootstrap / 2, abs=0.01)
    assert theirs["ar"] == pytest.approx(ours.p_randomization, abs=0.02)


def test_a_system_does_not_differ_from_itself(references: list[str]) -> None:
    metric = make_metric("ter", "en")
    sums = statistics(metric, system(references[:50], 0.3, 1), references[:50])
    found = compare(metric, sums, sums, samples=200)
    assert (found.difference, found.p_bootstrap, found.p_randomization) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++", "ter", "wer", "cer"])
def test_two_sentences_are_enough(name: str) -> None:
    metric = make_metric(name, "zh")
    a, b = (statistics(metric, hypotheses, ["我走。", "x"]) for hypotheses in (["我去。", ""], ["", "x"]))
    found = compare(metric, a, b, samples=100)
    assert 0 < found.p_bootstrap <= 1
    assert interval(metric, a, samples=100)[0] <= metric.value(a.sum(axis=0))


def test_a_clear_difference_gets_the_smallest_p_value_that_samples_can_show(references: list[str]) -> None:
    metric = make_metric("bleu", "en")
    a, b = (statistics(metric, system(references, share, 1), references) for share in (0.1, 0.6))
    found = compare(metric, a, b, samples=500)
    assert found.p_bootstrap == found.p_randomization == 1 / 501
    assert found.low > 0


def test_the_interval_matches_a_known_distribution() -> None:
    """The word error rate of one-word sentences is a proportion, whose interval is known."""
    metric = make_metric("wer", "en")
    hypotheses = ["a"] * 300 + ["b"] * 100
    low, high = interval(metric, statistics(metric, hypotheses, ["a"] * 400), samples=4000)
    half = 1.96 * 100 * (0.25 * 0.75 / 400) ** 0.5
    assert low == pytest.approx(25 - half, abs=0.4)
    assert high == pytest.approx(25 + half, abs=0.4)


@pytest.mark.slow
def test_twenty_thousand_sentences_take_a_minute_and_a_gibibyte_at_most() -> None:
    code = """
        import json, random, resource, time
        from voxlate_eval.metrics import make_metric, statistics
        from voxlate_eval.significance import compare, interval
        if __name__ == "__main__":
            rng = random.Random(0)
            words = [f"word{number}" for number in range(2000)]
            references = [" ".join(rng.choices(words, k=10)) for _ in range(20_000)]
            systems = [[text if rng.random() < 0.5 else text[::-1] for text in references] for _ in range(2)]
            started = time.perf_counter()
            for name in ("bleu", "chrf"):
                metric = make_metric(name, "en")
                a, b = (statistics(metric, system, references, workers=2) for system in systems)
                interval(metric, a), interval(metric, b), compare(metric, a, b)
            workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            with open("/proc/self/status") as status:  # RUSAGE_SELF includes the parent before exec
                own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
            print(json.dumps([time.perf_counter() - started, max(own, workers) / 2**20]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=300
    )
    seconds, gibibytes = json.loads(done.stdout)
    assert gibibytes < 1
    assert seconds < 120  # 25 on two idle cores; see eval/README.md
