"""Intervals and tests: right where the answer is known, stable between seeds, fast, and small."""

import json
import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from voxlate_eval.metrics import make_metric, statistics
from voxlate_eval.significance import compare, interval

WORDS = [f"w{number}" for number in range(300)]


def system(references: list[str], errors: float, seed: int) -> list[str]:
    """Return the references with that share of their words wrong."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < errors else word for word in text.split()) for text in references
    ]


@pytest.fixture(scope="module")
def references() -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 15))) for _ in range(600)]


@pytest.mark.parametrize("errors", [0.30, 0.315, 0.33, 0.36])
def test_p_values_do_not_depend_on_the_seed(references: list[str], errors: float) -> None:
    metric = make_metric("bleu", "en")
    a, b = (statistics(metric, system(references, share, seed), references) for share, seed in ((0.3, 1), (errors, 2)))
    found = [compare(metric, a, b, samples=2000, seed=seed) for seed in range(10)]
    assert np.ptp([one.p_bootstrap for one in found]) <= 0.01
    exact = compare(metric, a, b, samples=40_000, seed=99)
    assert found[0].p_bootstrap == pytest.approx(exact.p_bootstrap, abs=0.01)
    assert found[0].p_randomisation == pytest.approx(exact.p_bootstrap, abs=0.05)
    assert exact.low < exact.difference < exact.high


def test_the_mended_p_value_is_the_one_that_counting_tends_to(references: list[str]) -> None:
    """With so many samples counting needs no mending."""
    metric = make_metric("chrf", "en")
    a, b = (statistics(metric, system(references[:60], share, 3), references[:60]) for share in (0.3, 0.36))
    difference = metric.value(a.sum(axis=0)) - metric.value(b.sum(axis=0))
    rng = np.random.default_rng(5)
    drawn = rng.integers(60, size=(60_000, 60))
    values = np.array([metric.value(a[rows].sum(axis=0)) - metric.value(b[rows].sum(axis=0)) for rows in drawn])
    counted = np.mean(np.abs(values - values.mean()) >= abs(difference))
    assert 0.001 < counted < 0.5
    assert compare(metric, a, b).p_bootstrap == pytest.approx(counted, abs=0.01)


def test_a_system_is_not_different_from_itself(references: list[str]) -> None:
    metric = make_metric("ter", "en")
    sums = statistics(metric, system(references[:50], 0.3, 1), references[:50])
    found = compare(metric, sums, sums, samples=200)
    assert (found.difference, found.p_bootstrap, found.p_randomisation) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++", "ter", "wer", "cer"])
def test_a_handful_of_sentences_is_enough(name: str) -> None:
    metric = make_metric(name, "zh")
    a, b = (statistics(metric, hypotheses, ["我走。", "x"]) for hypotheses in (["我去。", ""], ["", "x"]))
    found = compare(metric, a, b, samples=100)
    assert 0 < found.p_bootstrap <= 1
    assert interval(metric, a, samples=100)[0] <= metric.value(a.sum(axis=0))


def test_a_clear_difference_is_as_unlikely_as_samples_can_show(references: list[str]) -> None:
    metric = make_metric("bleu", "en")
    a, b = (statistics(metric, system(references, share, 1), references) for share in (0.1, 0.6))
    found = compare(metric, a, b, samples=500)
    assert found.p_bootstrap == found.p_randomisation == 1 / 501
    assert found.low > 0


def test_the_interval_is_that_of_a_known_distribution() -> None:
    """The word error rate of sentences of one word is a proportion, whose interval is known."""
    metric = make_metric("wer", "en")
    hypotheses = ["a"] * 300 + ["b"] * 100
    low, high = interval(metric, statistics(metric, hypotheses, ["a"] * 400), samples=4000)
    half = 1.96 * 100 * (0.25 * 0.75 / 400) ** 0.5
    assert low == pytest.approx(25 - half, abs=0.4)
    assert high == pytest.approx(25 + half, abs=0.4)


@pytest.mark.slow
def test_twenty_thousand_sentences_in_twenty_seconds_and_a_gibibyte() -> None:
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
            with open("/proc/self/status") as status:  # RUSAGE_SELF counts what started this program, before exec
                own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
            print(json.dumps([time.perf_counter() - started, max(own, workers) / 2**20]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=120
    )
    seconds, gibibytes = json.loads(done.stdout)
    assert gibibytes < 1
    assert seconds < 40  # 20 on two free cores; see eval/README.md
