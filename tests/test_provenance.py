import subprocess
from pathlib import Path

from voxlate.provenance import checked_out_commit


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "voxlate"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git("init", "-q")
    assert checked_out_commit(package) is None  # there is no commit yet
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "-qm", "other")
    assert checked_out_commit(package) is None  # installed inside another project's working tree
    git("add", "voxlate")
    git("commit", "-qm", "first")
    assert checked_out_commit(package) == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("x = 1\n")
    assert checked_out_commit(package) == git("rev-parse", "HEAD") + "+"
