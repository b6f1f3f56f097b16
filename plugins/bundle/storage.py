"""A bundle's files on disk. Everything is made beside its place and renamed into it: it is there whole or not at all.

    store/<sha256>               each file once
    shards/<digest>/             the files of a shard (links into the store), and SHA256SUMS
    versions/<release>/          what tasks read: a link ``shardNN.zip`` to a folder of ``shards`` for each
    current/shardNN.zip          what the DAG processor reads: real archives, the DAG files only

Airflow names a DAG's file ``shardNN.zip/<dag>.py`` in both, so a task that starts parses one file, not the shard.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from plugins.bundle.manifest import Shard, sharded

SUMS = "SHA256SUMS"
UNFINISHED = ".new-"
"""Begins the names of what is being made; whoever holds the bundle's lock may remove what is left of a crash."""


class Storage:
    """The folder of one bundle. Callers hold the bundle's lock where a method says so."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._store = base / "store"
        self._shards = base / "shards"
        self._versions = base / "versions"
        self.current = base / "current"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self._store, self._shards, self._versions, self.current):
            folder.mkdir(parents=True, exist_ok=True)

    # Files

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return the digests of files that are not here, each once."""
        here = set(os.listdir(self._store))
        return sorted(set(digests) - here)

    def keep(self, digest: str, content: bytes) -> None:
        """Store a file. Any number of processes may store the same at once."""
        with self._made(self._store / digest) as new:
            new.write_bytes(content)

    # Releases

    def version(self, number: str) -> Path:
        """Return the folder of a release."""
        return self._versions / number

    def has(self, number: str) -> bool:
        """Tell whether a release is here with all its shards, and not as files side by side, as once was the way."""
        try:
            entries = list(os.scandir(self.version(number)))
        except FileNotFoundError:
            return False
        return bool(entries) and all(entry.is_symlink() and os.path.exists(entry.path) for entry in entries)

    def use(self, number: str) -> bool:
        """Note that a release is used now, so that :meth:`remove` leaves it; False if it is not here.

        Who uses and who removes have a lock of their own, held for moments, unlike the bundle's.
        """
        with self._locked("use", fcntl.LOCK_SH):
            if not self.has(number):
                return False
            os.utime(self.version(number))
            return True

    def newest(self, up_to: str | None = None) -> str | None:
        """Return the newest release here, or the newest that is no newer than another one."""
        limit = None if up_to is None else int(up_to)
        numbers = sorted((int(path.name) for path in self._versions.iterdir() if path.name.isdigit()), reverse=True)
        fitting = (str(number) for number in numbers if limit is None or number <= limit)
        return next((number for number in fitting if self.has(number)), None)

    def files_of(self, number: str) -> dict[str, str]:
        """Return the files of a release that is here: name -> sha256."""
        return {name: digest for shard in self._sums(number).values() for name, digest in shard.files.items()}

    def build(self, number: str, files: Mapping[str, str]) -> None:
        """Make a release of files that are all stored. The caller holds the lock."""
        self._clear_leftovers()
        shards = sharded(files)
        for shard in shards.values():
            self._build_shard(shard)
        with self._made(self.version(number)) as new:
            new.mkdir()
            for name, shard in shards.items():
                (new / name).symlink_to(Path("..", "..", "shards", shard.digest), target_is_directory=True)

    def _build_shard(self, shard: Shard) -> None:
        target = self._shards / shard.digest
        if target.is_dir():
            return
        with self._made(target) as new:
            new.mkdir()
            for name, digest in shard.files.items():
                os.link(self._store / digest, new / name)
            (new / SUMS).write_text(shard.text)

    def changed(self, before: str | None, after: str) -> list[str] | None:
        """Return the names of the shards that differ in two releases; None where it is not known."""
        if before is None or not self.has(before):
            return None
        old, new = (self._links(number) for number in (before, after))
        return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))

    # What the DAG processor reads

    def following(self) -> AbstractContextManager[None]:
        """Let one DAG processor at a time look for a new release and switch to it, so that none goes back."""
        return self._locked("follow")

    def switch(self, number: str, changed: list[str] | None) -> None:
        """Make ``current`` that of a release that is here. The caller holds the lock.

        Archives are made before the first is put into its place, so that a full disk changes nothing.

        :param changed: Shards that must look new to Airflow; None to compare all, after a start.
        """
        links = self._links(number)
        names = sorted(links.keys() | set(os.listdir(self.current))) if changed is None else changed
        made: list[tuple[Path | None, Path]] = []
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=self._base) as folder:
            for name in names:
                place = self.current / name
                archive = _archive(self.version(number) / name) if name in links else None
                if archive is None:
                    made.append((None, place))
                elif changed is not None or _digest(place) != hashlib.sha256(archive).hexdigest():
                    new = Path(folder, name)
                    new.write_bytes(archive)
                    made.append((new, place))
            for new_or_none, place in made:
                _put(new_or_none, place)

    def touch(self, names: Iterable[str]) -> None:
        """Have Airflow parse shards again."""
        for name in names:
            if (self.current / name).exists():
                _renew(self.current / name)

    def drop_broken(self, number: str) -> list[str]:
        """Remove the files of a release that are not what they should be; the release is then no longer here.

        :return: The names of the broken files.
        """
        broken = []
        for name, shard in self._sums(number).items():
            wrong = [file for file, digest in shard.files.items() if _digest(self._store / digest) != digest]
            for file in wrong:
                (self._store / shard.files[file]).unlink(missing_ok=True)
            if wrong:
                shutil.rmtree(self.version(number).joinpath(name).resolve())
            broken += wrong
        return broken

    # Removal

    def unused(self, current: str | None, seconds: float) -> list[str]:
        """Return the releases that nobody used for so long."""
        limit = time.time() - seconds
        return [
            path.name
            for path in self._versions.iterdir()
            if path.name.isdigit() and path.name != current and path.stat().st_mtime < limit
        ]

    def remove(self, number: str, seconds: float) -> None:
        """Remove a release unless it was used meanwhile. The caller holds the lock."""
        away = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self._versions))
        with self._locked("use", fcntl.LOCK_EX):
            if self.version(number).stat().st_mtime < time.time() - seconds:
                self.version(number).rename(away / number)
        shutil.rmtree(away)

    def sweep(self, seconds: float) -> None:
        """Remove shards that no release has, and files that no shard has. The caller holds the lock.

        A file that has just come may be of a release that another process is about to make.
        """
        used = {Path(os.readlink(link)).name for link in self._versions.glob("*/shard*")}
        for shard in self._shards.iterdir():
            if shard.name not in used:
                shutil.rmtree(shard)
        limit = time.time() - seconds
        for path in self._store.iterdir():
            # Files come and go here without the lock: what another process was making may be done and away.
            with suppress(FileNotFoundError):
                _remove_old(path, limit)

    def _clear_leftovers(self) -> None:
        for folder in (self._shards, self._versions, self._base):
            for path in folder.glob(f"{UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)

    # Helpers

    def _links(self, number: str) -> dict[str, str]:
        return {entry.name: os.readlink(entry.path) for entry in os.scandir(self.version(number))}

    def _sums(self, number: str) -> dict[str, Shard]:
        folder = self.version(number)
        return {name: Shard.from_text((folder / name / SUMS).read_text()) for name in self._links(number)}

    @contextmanager
    def _made(self, target: Path) -> Iterator[Path]:
        """Give a path to make a file or folder at; put it into its place in the end, in the place of a broken one."""
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=target.parent, ignore_cleanup_errors=True) as folder:
            new = Path(folder, target.name)
            yield new
            if target.is_dir():
                target.rename(Path(folder, "broken"))
            new.rename(target)

    @contextmanager
    def _locked(self, name: str, mode: int = fcntl.LOCK_EX) -> Iterator[None]:
        with (self._base / f"{name}.lock").open("a") as file:
            fcntl.flock(file, mode)
            yield


def _remove_old(path: Path, limit: float) -> None:
    """Remove a folder, or a file that nothing else links to, that was last changed before ``limit`` (Unix time)."""
    found = path.stat()
    if found.st_mtime >= limit:
        return
    if path.is_dir():
        shutil.rmtree(path)
    elif found.st_nlink == 1:
        path.unlink()


def _archive(folder: Path) -> bytes:
    """Return the archive of a shard's DAG files: the same files, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in Shard.from_text((folder / SUMS).read_text()).files:
            if name.endswith(".py"):
                archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())
    return buffer.getvalue()


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _put(new: Path | None, place: Path) -> None:
    """Put a file, or nothing, into its place."""
    if new is None:
        place.unlink(missing_ok=True)
    else:
        _renew(new)
        new.rename(place)


def _renew(path: Path) -> None:
    """Airflow parses a known file again if its time is later than the end of its last parse."""
    # The kernel's own "now" may be some milliseconds late.
    now = time.time_ns()
    os.utime(path, ns=(now, now))
