"""Published scores are complete and have sources, and averages match their directions."""

import re

import pytest

from voxlate.corpora.splits import official_rows
from voxlate_eval import EvaluationError
from voxlate_eval.published import System, find_system, find_systems, provenances, split_rows, splits, systems
from voxlate_eval.published_list import describe_averages

GROUP = re.compile(r"avg\d+-(x-en|en-x)\((.+)\)")


def members(average: str) -> list[str]:
    """Return the directions of an average by its name in published tables; empty if they are not known."""
    listed = GROUP.fullmatch(average)
    if listed:
        pattern = "{}-en" if listed[1] == "x-en" else "en-{}"
        return [pattern.format(language) for language in listed[2].split(";")]
    if average == "avg-x-en":
        return [name for name in splits() if name.endswith("-en")]
    if average == "avg-en-x":
        return [name for name in splits() if name.startswith("en-")]
    group = average.removesuffix("-x-en")
    return [name for name, split in splits().items() if split.group == group]


@pytest.mark.parametrize("system", systems().values(), ids=lambda system: system.name)
def test_averages_match_their_directions(system: System) -> None:
    for name, printed in system.scores.items():
        directions = members(name) if name not in splits() else []
        if directions and {*directions} <= system.scores.keys():
            mean = sum(system.scores[direction] for direction in directions) / len(directions)
            assert mean == pytest.approx(printed, abs=0.0501), name


def test_the_averages_of_the_xlsr_paper_are_recomputed() -> None:
    """The previous test covers all averages of the systems whose tables we regenerate."""
    for name in ("XLS-R (0.3B)", "XLS-R (1B)", "XLS-R (2B)", "XLS-R (2B) HF checkpoint, third-party rerun"):
        scores = find_system(name).scores
        averages = [key for key in scores if key not in splits()]
        assert {"high-x-en", "mid-x-en", "low-x-en", "avg-x-en"} <= {*averages}
        assert all({*members(average)} <= scores.keys() for average in averages)


def test_the_scores_of_2026_are_those_of_their_source() -> None:
    """The means over X→en of hearing2translate's table, and the averages of ComSL and Canary's model card."""
    means = {
        "Qwen3-Omni": 41.4,
        "SeamlessM4T v2": 39.7,
        "Voxtral-Small-24B": 38.1,
        "Whisper": 34.3,
        "OWSM-CTC v4": 23.6,
    }
    for name, mean in means.items():
        system = find_system(f"{name} (hearing2translate)")
        scores = [score for direction, score in system.scores.items() if direction.endswith("-en")]
        assert len(scores) == 5
        assert sum(scores) / 5 == pytest.approx(mean, abs=0.0501), name
        assert "hearing2translate@27590a95" in provenances()[system.provenance["de-en"]].source
    assert len(find_systems("*(hearing2translate)")) == 8
    en_de = {"Qwen3-Omni": 36.8, "SeamlessM4T v2": 37.1, "Voxtral-Small-24B": 34.5, "Canary-1b-v2": 33.0}
    found = {name: find_system(f"{name} (hearing2translate)").scores["en-de"] for name in en_de}
    assert found == pytest.approx(en_de, abs=0.0501)
    assert find_system("ComSL").scores == {"avg-x-en": 31.5}
    assert describe_averages(find_system("Canary-1b-v2")) == "40.5 X→en of 11, 32.3 en→X of 5"


def test_every_score_has_a_source_and_is_between_0_and_100() -> None:
    for system in systems().values():
        for key, value in system.scores.items():
            found = provenances()[system.provenance[key]]
            assert found.source
            assert found.scoring
            assert found.convention in {"covost2", "13a", "unknown", "text"}
            assert 0 <= value <= 100
            assert key in splits() or members(key) or key.startswith("avg-subset-"), key


def test_split_sizes_equal_those_of_prepare() -> None:
    assert {
        name: {"train": split.train, "dev": split.dev, "test": split.test} for name, split in splits().items()
    } == official_rows()
    assert split_rows("fr-en", "test") == 14_760
    assert split_rows("fr-de", "test") is split_rows("fr-en", "all") is split_rows(None, None) is None


def test_names_are_found_or_suggested() -> None:
    assert find_system("xls-r (0.3b)").scores["fr-en"] == 32.9
    with pytest.raises(
        EvaluationError, match=r"^no published system 'XLSR 300M'; did you mean '.*'\?; voxlate published lists"
    ):
        find_system("XLSR 300M")
    with pytest.raises(EvaluationError, match=r"^no published system '~'; there are 114, such as 'XLS-R \(0.3B\)' and"):
        find_system("~")
    assert [system.name for system in find_systems("xls-r (*b)")] == ["XLS-R (0.3B)", "XLS-R (1B)", "XLS-R (2B)"]
    with pytest.raises(
        EvaluationError, match=r"^no published system 'nothing\*'; .*voxlate published lists all of them"
    ):
        find_systems("nothing*")
