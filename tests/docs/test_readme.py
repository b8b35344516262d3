"""What README.md and the pages of docs/ show is true: commands, Python, tables, links and options."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from documentation import PAGES, blocks, commands, prose, read, run, sessions
from paths import ROOT
from site_generator.build import GENERATED
from voxlate import __version__
from voxlate.cli import app
from voxlate.config.schema import TrainConfig
from voxlate.errors import VoxlateError
from voxlate.languages import COVOST2_SOURCES, COVOST2_TARGETS

TUTORIALS = {page for page in PAGES if page.startswith("docs/tutorials/")}  # see test_tutorials.py
SESSIONS = [session for page in PAGES if page not in TUTORIALS for session in sessions(page)]
PUBLISHED = [
    line
    for page in ("README.md", "docs/index.md", "docs/tutorials/talk.md")
    for line in commands(page, "voxlate translate ")
    if "--model" not in line
]
PUBLISHED += commands("docs/models.md", "voxlate convert ")
OTHERS = sorted({line for page in {*PAGES} - TUTORIALS for line in commands(page) if not line.startswith("voxlate ")})


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a clone, for what the commands write."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands() -> None:
    assert len(SESSIONS) >= 4
    assert len(OTHERS) >= 8
    assert len(blocks("README.md", "python")) == 1


def test_every_command_is_run_by_a_test() -> None:
    """The other modules of this folder run all commands of their pages, and the last five of the README."""
    others = {
        f"docs/{name}.md" for name in ("data", "evaluating", "offline", "scale", "server", "training", "translating")
    } | TUTORIALS
    assert others < {*PAGES}
    known = {"voxlate doctor", *PUBLISHED, *commands("README.md", "voxlate")[-5:]}
    elsewhere = {*commands("docs/tutorials/talk.md", "voxlate")}
    assert {line for page in {*PAGES} - others for line in commands(page, "voxlate")} == known - elsewhere


@pytest.mark.parametrize(("command", "expected"), SESSIONS)
def test_sessions_print_what_the_page_shows(clone: Path, command: str, expected: str) -> None:
    assert run(command).stdout == expected


@pytest.mark.parametrize("code", [code for page in PAGES for code in blocks(page, "python")])
def test_python_prints_what_its_comment_says(clone: Path, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(code, {})
    assert capsys.readouterr().out.strip() == re.findall(r"# (.*)$", code, re.MULTILINE)[-1]


@pytest.mark.parametrize("command", PUBLISHED)
def test_commands_without_a_local_model_choose_the_published_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded here: the command runs until it needs the checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("talk.mp3", "interview.mp4", "recordings/a.wav", "more/b.wav", "xls_r_300m_en_15.pt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    Path("sentencepiece.bpe.model").touch()
    named = re.search(r"xls[-_]r\S+", command)
    default = "xls-r-300m-21-to-en" if "--to en" in command else "xls-r-300m-en-to-15"
    with pytest.raises(VoxlateError, match=named[0] if named else default):
        run(command.partition(" > ")[0])


@pytest.mark.parametrize("command", OTHERS)
def test_other_commands_name_what_exists(command: str) -> None:
    words = shlex.split(command)
    if words[0] in ("uvx", "pipx"):  # with the built wheel; what they run are commands like the others
        version = re.search(r"voxlate-(.+)-py3-none-any.whl", command)
        assert version is not None
        assert version[1] == __version__
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif words[:2] == ["python", "-m"] and words[2] == "pytest":
        assert all((ROOT / word).exists() for word in words[3:] if word.startswith("tests"))
    elif words[0] in ("accelerate", "torchrun"):  # training and evaluation by several processes are tested with them
        arguments = words[words.index("voxlate") + 1 :]
        assert arguments[0] in ("train", "evaluate")
        help_text = CliRunner().invoke(app, [arguments[0], "--help"]).stdout
        assert all(word in help_text for word in arguments if word.startswith("--"))
        settings = [word for word in arguments[2:] if "=" in word]
        assert all(setting.partition("=")[0] in TrainConfig.model_fields for setting in settings)
    elif words[0] == "python" and words[1].endswith(".py"):
        help_text = subprocess.run(
            [sys.executable, ROOT / words[1], "--help"], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", help_text))
    elif words[0] != "docker":  # see test_container_files.py
        assert command in (
            "git pull",
            "python3 -m venv .venv",
            "source .venv/bin/activate",
            "python -m pip install .",
            "export HF_HUB_OFFLINE=1",
            "hf download facebook/wav2vec2-xls-r-300m-21-to-en",
            "hf download facebook/wav2vec2-xls-r-300m-21-to-en --local-dir xls-r-300m-21-to-en",
            "python -m pip download . --dest wheels",
            "python -m pip install --no-index --find-links wheels voxlate",
        )


def test_doctor_finds_a_sound_installation() -> None:
    assert "voxlate doctor" in commands("README.md")
    assert run("voxlate doctor").exit_code == 0


def test_the_readme_names_the_oldest_python() -> None:
    [minimum] = re.findall(r'requires-python = ">=([\d.]+)"', read("pyproject.toml"))
    assert f"Voxlate needs Python {minimum} or newer." in read("README.md")


def rows(page: str, start: str) -> list[list[str]]:
    """Return the cells of the table rows that begin with some text."""
    return [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in read(page).splitlines() if line.startswith(start)
    ]


def test_the_tables_of_checkpoints_are_the_published_facts() -> None:
    languages = rows("docs/models.md", "| `facebook/")
    assert sorted(languages[0][1].split()) == sorted(COVOST2_SOURCES)
    assert sorted(languages[1][2].split()) == sorted(COVOST2_TARGETS)
    with (ROOT / "eval/voxlate_eval/published/scores.csv").open(encoding="utf-8") as file:
        bleu = {(row["system"], row["direction"]): float(row["bleu"]) for row in csv.DictReader(file)}
    systems = {"300m": "XLS-R (0.3B)", "1b": "XLS-R (1B)", "2b": "XLS-R (2B)"}
    for system, *values in rows("docs/models.md", "| XLS-R ("):
        groups = ("avg-x-en", "high-x-en", "mid-x-en", "low-x-en", "avg-en-x")
        assert [float(value) for value in values] == [bleu[system, group] for group in groups]
    table = [row for row in rows("docs/models.md", "| `facebook/") if len(row) == 8]
    assert len(table) == 7
    for name, _, parameters, download, memory, _, _, value in table:
        millions = float(parameters.removesuffix(" M").replace(",", ""))
        assert float(download.removesuffix(" GB")) == pytest.approx(millions * 4 / 1000, rel=0.01)
        if not name.startswith("`facebook/wav2vec2-xls-r-300m"):
            assert memory == f"over {millions * 4 / 1000:.1f} / {millions * 2 / 1000:.1f} GB"
        size, direction = name.strip("`").removeprefix("facebook/wav2vec2-xls-r-").split("-", 1)
        if direction == "22-to-16":
            assert value == "not published"
        else:
            assert float(value) == bleu[systems[size], "avg-x-en" if direction == "21-to-en" else "avg-en-x"]


def test_the_bundled_model_has_the_size_in_the_table() -> None:
    [[_, directions, parameters, *_]] = rows("docs/models.md", "| `recipes/demo/model`")
    card = (ROOT / "recipes/demo/model/README.md").read_text(encoding="utf-8")
    assert f"{parameters.removesuffix(' M')} million parameters" in card
    assert directions == "5 → en, en → 3"


def test_the_citation_is_of_this_version_and_license() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == __version__
    assert f'license = "{citation["license"]}"' in read("pyproject.toml")
    assert citation["title"] == "Voxlate"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "eval/README.md", "eval/speed/README.md"])
def test_links_lead_to_files_and_headings(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if not target.startswith("https://"):
            name, _, heading = target.partition("#")
            path = (ROOT / page).parent / name if name else ROOT / page
            if path.resolve().is_relative_to(ROOT / "docs/reference") and path.name != "files.md":
                assert f"reference/{path.name}" in GENERATED  # while the site is built
                continue
            assert path.exists(), target
            if heading:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in map(anchor, headings), target


def test_the_tables_to_extend_are_where_contributing_says() -> None:
    found = re.findall(r"`(\w+)` (?:in|of)\s+\[[^\]]+\]\(([^)]+)\)", read("CONTRIBUTING.md"))
    assert {name for name, _ in found} >= {"CORPORA", "ENCODERS", "METRICS", "SpeechEncoder"}
    for name, file in found:
        assert re.search(rf"^(class )?{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("ast/voxlate/decoding/search.py", "length**length_penalty"),
        ("ast/voxlate/audio/segmentation.py", "def cut_stretch("),
        ("ast/voxlate/training/optimizer.py", "def learning_rate("),
    ],
)
def test_the_readme_links_the_code_that_readers_look_for(file: str, code: str) -> None:
    assert f"]({file})" in read("README.md")
    assert code in (ROOT / file).read_text(encoding="utf-8")


def test_every_option_is_in_the_help() -> None:
    corpora = ("covost2", "must-c", "statistics", "manifest", "parquet", "spoken", "vocabulary", "shortlist")
    names = (
        "translate",
        "convert",
        "train",
        "average",
        "card",
        "evaluate",
        "score",
        "report",
        "identify",
        "train-segmenter",
        "serve",
    )
    helped = [[], *([name] for name in names), *(["prepare", corpus] for corpus in corpora)]
    help_text = "".join(CliRunner().invoke(app, [*command, "--help"]).stdout for command in helped)
    code = [code for page in PAGES if page != "CONTRIBUTING.md" for code in re.findall(r"`([^`]+)`", prose(page))]
    code = [text for text in code if not text.startswith("accelerate")]
    named = {option for text in code for option in re.findall(r"(?<!\S)--[a-z-]+", text)}
    assert len(named) > 15
    assert named <= set(re.findall(r"--[a-z-]+", help_text))
