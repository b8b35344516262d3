"""From an empty folder: parquet files as on the Hub, three commands, and a report beside modern systems and others."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from paths import ROOT
from voxlate.cli import app

CLIPS = ROOT / "recipes/demo/clips"
SYSTEMS = ["SeamlessM4T-Large v2", "GPT-4o", "Canary-1b-v2"]


def voxlate(command: str) -> str:
    result = CliRunner().invoke(app, [word.replace("_", " ") for word in command.split()], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def write_hub_layout(folder: Path) -> None:
    """Write the demo's clips in the layout of fixie-ai/covost2: each clip of a pair four times, under other names."""
    for pair in ("fr_en", "de_en"):
        rows = []
        for line in (CLIPS / "clips.jsonl").read_text().splitlines():
            clip = json.loads(line)
            if clip["id"].startswith(pair.replace("_", "-")):
                contents = (CLIPS / clip["audio"]).read_bytes()
                texts = {"sentence": clip["source_text"], "translation": clip["target_text"]}
                names = [f"common_voice_{pair[:2]}_{number}.mp3" for number in range(4)]
                rows += [{"client_id": "a", "audio": {"bytes": contents, "path": name}, **texts} for name in names]
        (folder / pair).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / pair / "test-00000-of-00001.parquet")


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_three_commands_make_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_hub_layout(Path("covost2"))
    voxlate("prepare covost2 --hub covost2 --pairs fr-en,de-en --output data --transcode flac --num-workers 1")
    voxlate("evaluate --model recipes/demo/model --data data --output scores/ours --device cpu --dtype float32")
    against = " ".join(f"--against {name.replace(' ', '_')}" for name in SYSTEMS)
    voxlate(f"report scores/ours {against} --output report")

    table = [line.split(" | ") for line in Path("report/tables.md").read_text().splitlines()[:4]]
    assert [cell for cell in table[0] if cell in SYSTEMS] == SYSTEMS
    assert table[2][:3:2] == ["| fr→en", "42.2"]
    page = Path("report/report.html").read_text()
    [sentences] = re.findall(r'<script id="data" type="application/json">(.*)</script>', page)
    rows = {found["direction"]: found["rows"] for found in json.loads(sentences)}
    assert [len(found) for found in rows.values()] == [4, 4]
    assert all(row["audio"].startswith("data:audio/") for row in rows["fr-en"])
    assert rows["fr-en"][0]["reference"] == "I would like to visit the cathedral this afternoon."

    # Hypotheses of another system, in plain text: sentences side by side, and whether the systems differ.
    theirs = ["I would like to visit the cathedral this afternoon."] * 2 + ["A cat."] * 2
    Path("theirs.txt").write_text("".join(f"{line}\n" for line in theirs))
    voxlate("score theirs.txt --references data/fr-en/test.jsonl --output scores/theirs/fr-en/scores.json")
    voxlate("report scores/ours scores/theirs --output both")
    page = Path("both/report.html").read_text()
    [sentences] = re.findall(r'<script id="data" type="application/json">(.*)</script>', page)
    found = next(one for one in json.loads(sentences) if one["direction"] == "fr-en")
    assert found["systems"] == ["ours", "theirs"]
    assert "A cat." in sentences
    assert re.search(r"ours − theirs: (<b>)?\+\d+\.\d \[[+−]?\d+\.\d, [+−]?\d+\.\d\], p ", page)
