"""The bundle: releases pulled from a control plane, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from plugins.bundle import AgentFactoryBundle
from plugins.bundle.bundle import SENTINEL_NAME
from plugins.bundle.manifest import SHARDS, BundleError, Release, shard_of
from tests.plugins.releases import Releases

pytestmark = pytest.mark.unit

NAME = "acme__greet.py"
PLAN = "acme__greet.plan.json"
SHARD = shard_of(NAME)
OTHER = next(name for number in range(99) if shard_of(name := f"acme__other_{number}.py") != SHARD)


def bundle(version: str | None = None) -> AgentFactoryBundle:
    return AgentFactoryBundle(name="agent_factory", refresh_interval=30, version=version)


def loaded(version: str | None = None) -> AgentFactoryBundle:
    made = bundle(version)
    made.initialize()
    return made


def read(made: AgentFactoryBundle, name: str = NAME) -> bytes | None:
    """Return a file as the DAG processor sees it."""
    path = made.path / shard_of(name)
    if not path.exists():
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.read(name) if name in archive.namelist() else None


def times(made: AgentFactoryBundle) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in made.path.iterdir()}


class TestShards:
    def test_never_move(self) -> None:
        """A change of this would leave runs without their files."""
        assert SHARDS == 64
        assert {name: shard_of(name) for name in (NAME, PLAN, "a__b.py", SENTINEL_NAME)} == {
            NAME: "shard26.zip", PLAN: "shard26.zip", "a__b.py": "shard28.zip", SENTINEL_NAME: "shard00.zip",
        }  # fmt: skip

    def test_same_files_same_bytes(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first", OTHER: b"other"})
        first = {path.name: path.read_bytes() for path in loaded().path.iterdir()}
        releases.publish(2, {OTHER: b"other", NAME: b"first"})
        assert {path.name: path.read_bytes() for path in loaded().path.iterdir()} == first

    def test_plans_are_for_tasks_only(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first", PLAN: b"{}"})
        made = loaded()
        assert (read(made), read(made, PLAN)) == (b"first", None)
        assert (loaded("1").path / SHARD / PLAN).read_bytes() == b"{}"


class TestRefresh:
    def test_files_of_the_newest_release(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        assert read(made) == b"first"
        assert b"agent_factory__release" in (read(made, SENTINEL_NAME) or b"")
        releases.publish(2, {NAME: b"second"})
        made.refresh()
        version = made.get_current_version()
        assert version is not None
        assert (version.version, version.data) == ("2", None)
        assert read(made) == b"second"

    def test_only_what_changed_is_asked_for(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        releases.publish(2, {NAME: b"first", OTHER: b"other"})
        releases.asked.clear()
        made.refresh()
        assert releases.asked == ["/runtime/v1/release?since=1", "/runtime/v1/artifacts"]

    def test_only_the_changed_shard_looks_new(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first", OTHER: b"other"})
        made = loaded()
        for number, content in ((2, b"second"), (3, b"first")):
            before = times(made)
            releases.publish(number, {NAME: content, OTHER: b"other"})
            made.refresh()
            after = times(made)
            assert {name for name in after if after[name] != before[name]} == {SHARD}
            assert after[SHARD] > before[SHARD]

    def test_nothing_new_changes_nothing(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded()
        before = times(made)
        made.refresh()
        assert (times(made), times(loaded())) == (before, before)

    def test_removed_workflow(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first", OTHER: b"other"})
        made = loaded()
        releases.publish(2, {OTHER: b"other"})
        made.refresh()
        assert (read(made), read(made, OTHER)) == (None, b"other")

    def test_before_the_first_publish(self, releases: Releases, folder: Path) -> None:
        assert [path.name for path in loaded().path.iterdir()] == [shard_of(SENTINEL_NAME)]

    def test_many_files_come_in_several_calls(self, releases: Releases, folder: Path) -> None:
        files = {f"acme__w{number}.py": b"%d" % number for number in range(450)}
        releases.publish(1, files)
        made = loaded()
        assert {name: read(made, name) for name in files} == files
        assert releases.asked.count("/runtime/v1/artifacts") == 3


class TestVersion:
    def test_a_run_in_flight_keeps_its_release(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        releases.publish(2, {NAME: b"second"})
        assert (loaded("1").path / SHARD / NAME).read_bytes() == b"first"
        assert read(loaded()) == b"second"
        assert (loaded("1").path / SHARD / NAME).read_bytes() == b"first"

    def test_on_disk_needs_no_control_plane(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        loaded("1")
        releases.status = 503
        releases.asked.clear()
        assert (loaded("1").path / SHARD / NAME).read_bytes() == b"first"
        assert releases.asked == []

    def test_is_told_by_its_difference_from_an_older_one(self, releases: Releases, folder: Path) -> None:
        for number in (1, 3, 5):
            releases.publish(number, {NAME: b"%d" % number, OTHER: b"other"})
        for number in ("5", "1", "3"):
            assert (loaded(number).path / SHARD / NAME).read_bytes() == number.encode()
        assert [path for path in releases.asked if "since" in path] == ["/runtime/v1/releases/3?since=1"]

    def test_of_the_time_before_shards_is_made_anew(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        (folder / "versions" / "1").mkdir(parents=True)
        (folder / "versions" / "1" / NAME).write_bytes(b"first")
        assert (loaded("1").path / SHARD / NAME).read_bytes() == b"first"

    def test_unknown(self, releases: Releases, folder: Path) -> None:
        with pytest.raises(BundleError, match="did not give releases/9: 404"):
            loaded("9")

    def test_does_not_follow(self, releases: Releases, folder: Path) -> None:
        releases.publish(1, {NAME: b"first"})
        made = loaded("1")
        releases.publish(2, {NAME: b"second"})
        made.refresh()
        assert (made.path / SHARD / NAME).read_bytes() == b"first"


class TestCollect:
    def test_removes_what_nobody_used(self, releases: Releases, folder: Path) -> None:
        for number, content in ((1, b"first"), (2, b"second"), (3, b"third")):
            releases.publish(number, {NAME: content, OTHER: b"other"})
            made = loaded()
        for path in [*(folder / "versions").iterdir(), *(folder / "store").iterdir()]:
            os.utime(path, (0, 0))
        assert loaded("2").path.exists()
        made.collect(60)
        assert sorted(path.name for path in (folder / "versions").iterdir()) == ["2", "3"]
        stored = {path.read_bytes() for path in (folder / "store").iterdir()}
        assert (b"first" in stored, b"second" in stored, b"other" in stored) == (False, True, True)
        assert (loaded("1").path / SHARD / NAME).read_bytes() == b"first"

    def test_leaves_what_a_task_at_work_uses(self, releases: Releases, folder: Path) -> None:
        from airflow.dag_processing.bundles.base import BundleVersionLock

        for number in (1, 2):
            releases.publish(number, {NAME: b"%d" % number})
            made = loaded()
        os.utime(folder / "versions" / "1", (0, 0))
        with BundleVersionLock("agent_factory", "1"):
            made.collect(60)
            assert bundle("1").path.exists()
        made.collect(60)
        assert not bundle("1").path.exists()
        assert not (folder.parent / "_tracking" / "agent_factory" / "1").exists()

    def test_leaves_files_that_have_just_come(self, releases: Releases, folder: Path) -> None:
        made = loaded()
        digest = hashlib.sha256(b"coming").hexdigest()
        (folder / "store" / digest).write_bytes(b"coming")
        made.collect(60)
        assert (folder / "store" / digest).exists()


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"release": "1"},
        {"release": "../1", "artifacts": []},
        {"release": "1", "artifacts": [{"name": "../../etc/passwd", "sha256": "0" * 64}]},
        {"release": "1", "artifacts": [{"name": NAME, "sha256": "../x"}]},
        {"release": "1", "artifacts": [None]},
        {"release": "2", "since": "../1", "artifacts": []},
        {"release": "1", "artifacts": [], "removed": 1},
    ],
)
def test_unusable_release(body: Any) -> None:
    with pytest.raises(BundleError):
        Release.from_json(body)
