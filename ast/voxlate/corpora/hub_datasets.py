"""List the files of a dataset on the Hub, and read them as streams.

Only the ranges that are needed are fetched, and no file is stored. With HF_HUB_OFFLINE=1, the files are those in the
Hub cache, where `hf download --repo-type dataset` puts them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, cast

from huggingface_hub import HfApi, HfFileSystem, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from voxlate.corpora.clip_checks import file_state
from voxlate.errors import VoxlateError

URL = "hf://datasets/"
_CONVERTED = "refs/convert/parquet"  # the branch to which the Hub converts datasets that are not in parquet


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset, on this machine or on the Hub. `state` changes if its contents may have changed."""

    path: PurePath  # on this machine, or in the repository
    state: str
    dataset: str | None = None  # owner/name@commit of a file on the Hub

    def __str__(self) -> str:
        return str(self.path) if self.dataset is None else f"{URL}{self.dataset}/{self.path}"

    def open(self) -> BinaryIO:
        """Open the file for reading. Errors of the network are VoxlateErrors."""
        if self.dataset is None:
            return Path(self.path).open("rb")
        with _hub_errors(self.dataset.partition("@")[0]):
            system = HfFileSystem(endpoint=constants.ENDPOINT)
            file = system.open(str(self).removeprefix("hf://"), cache_type="none")  # pyarrow reads whole columns
        return cast(BinaryIO, _RemoteFile(self.dataset.partition("@")[0], file))


class _RemoteFile(io.RawIOBase):
    """A file on the Hub whose errors are VoxlateErrors."""

    def __init__(self, repository: str, file: BinaryIO) -> None:
        self._repository, self._file = repository, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _hub_errors(self._repository):
            return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def parse_dataset(text: str) -> tuple[str, str | None, str]:
    """Return repository, revision and folder of ``[hf://datasets/]owner/name[@revision][/folder]``.

    VoxlateError if the text has another form.
    """
    pattern = r"([\w.-]+/[\w.-]+)(?:@([\w.-]+|refs/[\w.-]+/[\w.-]+))?(?:/(.+?))?/?"
    match = re.fullmatch(pattern, text.removeprefix(URL), re.ASCII)
    if match is None or text.startswith((".", "/", "~")):
        raise VoxlateError(f"{text}: not a dataset on the Hub; expected owner/name, or {URL}owner/name/FOLDER")
    return match[1], match[2], match[3] or ""


def list_dataset(text: str) -> list[DataFile]:
    """Return the parquet files of a dataset, in its own form or as converted by the Hub. VoxlateError explains why not.

    `text` is as in `parse_dataset`.
    """
    repository, revision, folder = parse_dataset(text)
    if constants.HF_HUB_OFFLINE:
        files = list(_cached_files(repository, revision))
    else:
        with _hub_errors(repository, revision):
            files = _remote_files(repository, revision)
            if not any(file.path.suffix == ".parquet" for file in files) and revision is None:
                files = _remote_files(repository, _CONVERTED)
    found = [file for file in files if file.path.suffix == ".parquet" and _is_in(file, folder)]
    if not found:
        raise VoxlateError(f"dataset {repository}: no .parquet files{f' in its folder {folder}' if folder else ''}")
    return sorted(found, key=lambda file: file.path)


def _is_in(file: DataFile, folder: str) -> bool:
    parts = PurePosixPath(folder).parts
    return any(file.path.parts[start : start + len(parts)] == parts for start in range(len(file.path.parts)))


def _remote_files(repository: str, revision: str | None) -> list[DataFile]:
    """Return the files of a revision. They are read from its commit, even if the repository changes meanwhile."""
    info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
    dataset = f"{repository}@{info.sha}"
    return [
        DataFile(PurePosixPath(file.rfilename), file.lfs.sha256 if file.lfs else str(file.blob_id), dataset)
        for file in info.siblings or ()
    ]


def _cached_files(repository: str, revision: str | None) -> Iterator[DataFile]:
    """Yield the files of a revision that are in the Hub cache."""
    for branch in [revision] if revision else [None, _CONVERTED]:
        try:
            folder = snapshot_download(repository, repo_type="dataset", revision=branch, local_files_only=True)
        except LocalEntryNotFoundError:
            continue
        yield from (DataFile(path, file_state(path)) for path in sorted(Path(folder).rglob("*.parquet")))
        return
    option = f" --revision {revision}" if revision else ""
    raise VoxlateError(
        f"dataset {repository} is not on this machine and HF_HUB_OFFLINE forbids reading it from the Hub; run "
        f"`hf download --repo-type dataset {repository}{option}` on a machine with network access and copy the Hub "
        "cache, or name a folder with its files"
    )


@contextmanager
def _hub_errors(repository: str, revision: str | None = None) -> Iterator[None]:
    """Raise errors of the Hub and of the network as VoxlateErrors."""
    try:
        yield
    except (VoxlateError, MemoryError):
        raise
    except GatedRepoError:
        raise VoxlateError(
            f"dataset {repository} is gated; ask for access on its Hub page, then `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise VoxlateError(f"dataset {repository} has no revision {revision or _CONVERTED!r} on the Hub") from None
    except RepositoryNotFoundError:
        raise VoxlateError(
            f"dataset {repository}: no such dataset on the Hub; private ones need `hf auth login`"
        ) from None
    except Exception as error:  # the network's errors are of several libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VoxlateError(
            f"dataset {repository}: the Hub cannot be read ({reason[:200]}); rerun the same command to resume"
        ) from error
