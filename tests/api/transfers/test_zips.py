"""What an import refuses to unpack."""

from __future__ import annotations

import io
import stat
import zipfile
from typing import Any

import orjson
import pytest

from api.problems import Problem
from api.transfers import zips
from api.transfers.zips import read_zip, write_zip

pytestmark = pytest.mark.unit

AGENT = "agents/greet/agent.json"
FILES = {AGENT: b'{"name":"Greeter"}', "agents/greet/workflow.json": b"{}", "variables.json": b"[]"}


def packed(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **fields: Any) -> bytes:
    """A zip of entries as they are; ``fields`` are set on each."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            for field, value in fields.items():
                setattr(info, field, value)
            archive.writestr(info, content)
    return target.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    return unpacked(write_zip(files))


def refused(content: bytes) -> str:
    with pytest.raises(Problem) as caught:
        read_zip(content)
    assert (caught.value.status, caught.value.code) == (422, "invalid_archive")
    return caught.value.detail


class TestRoundTrip:
    def test_files(self) -> None:
        assert read_zip(write_zip(FILES)) == FILES

    def test_same_bytes_in_any_order(self) -> None:
        assert write_zip(dict(reversed(FILES.items()))) == write_zip(FILES)

    def test_blanks_are_no_bomb_of_ours(self) -> None:
        files = FILES | {"agents/greet/workflow.json": b"{" + b" " * 900_000 + b"}"}
        assert read_zip(write_zip(files)) == files

    def test_more_than_can_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(zips, "MAX_ENTRIES", 3)
        with pytest.raises(Problem) as caught:
            write_zip(FILES)
        assert caught.value.status == 413


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "../evil.json",
            "agents/../../evil.json",
            "/etc/passwd",
            "C:\\evil.json",
            "agents\\greet\\agent.json",
            "agents/greet/versions/0.json",
            "agents/greet/versions/1.json/x",
            "agents/Greet/agent.json",
            "agents/greet/",
            "agents/greet/more.zip",
            "agents/greet/agent.json\n",
            "x.json",
        ],
    )
    def test_refused(self, name: str) -> None:
        assert "files of an export only" in refused(packed(with_manifest(FILES) | {name: b"{}"}))

    def test_twice(self) -> None:
        target = io.BytesIO(packed(with_manifest(FILES)))
        with zipfile.ZipFile(target, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(AGENT, b"{}")
        assert "same name" in refused(target.getvalue())


class TestContents:
    @pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])
    def test_no_plain_file(self, kind: int) -> None:
        assert "plain file" in refused(packed(with_manifest(FILES), external_attr=(kind | 0o777) << 16))

    def test_bomb(self) -> None:
        assert "times as large" in refused(packed(with_manifest(FILES | {AGENT: b" " * 1_000_000})))

    def test_large_file(self) -> None:
        files = FILES | {AGENT: b"\0" * (zips.MAX_FILE_BYTES + 1)}
        assert "bytes unpacked" in refused(packed(files, zipfile.ZIP_STORED))

    def test_large_sum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = write_zip(FILES)
        monkeypatch.setattr(zips, "MAX_TOTAL_BYTES", 100)
        assert "unpacked" in refused(content)

    def test_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = write_zip(FILES)
        monkeypatch.setattr(zips, "MAX_ENTRIES", 3)
        assert "files" in refused(content)

    def test_a_size_that_lies(self) -> None:
        """The directory promises little; what comes out must not be more."""
        content = bytearray(write_zip(FILES | {AGENT: b" " * 9_000}))
        directory = content.rindex(b"PK\x01\x02", 0, content.rindex(AGENT.encode()))
        content[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
        refused(bytes(content))

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_methods(self, method: int) -> None:
        assert "stored or deflated" in refused(packed(with_manifest(FILES), method))

    def test_encrypted(self) -> None:
        content = bytearray(write_zip(FILES))
        directory = content.index(b"PK\x01\x02")
        content[directory + 8] |= 1
        assert "encrypted" in refused(bytes(content))

    @pytest.mark.parametrize("cut", [0, 10, 100, -1])
    def test_broken(self, cut: int) -> None:
        refused(write_zip(FILES)[:cut])

    def test_flipped_bytes_are_never_more_than_refused(self) -> None:
        content = write_zip(FILES)
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 0xFF
            try:
                assert read_zip(bytes(changed)) == FILES
            except Problem as problem:
                assert problem.code == "invalid_archive"  # noqa: PT017  a flipped date changes nothing


class TestManifest:
    def test_missing(self) -> None:
        assert "manifest" in refused(packed(FILES))

    @pytest.mark.parametrize("content", [b"", b"[]", b'{"kind":"x","format":1,"files":{}}', b"{}"])
    def test_other(self, content: bytes) -> None:
        assert "manifest" in refused(packed(FILES | {"manifest.json": content}))

    def test_newer(self) -> None:
        entries = with_manifest(FILES)
        manifest = orjson.loads(entries["manifest.json"]) | {"format": 2}
        assert "format 1" in refused(packed(entries | {"manifest.json": orjson.dumps(manifest)}))

    def test_changed_file(self) -> None:
        assert "was changed" in refused(packed(with_manifest(FILES) | {AGENT: b'{"name":"Groeter"}'}))

    def test_file_more(self) -> None:
        assert "exactly" in refused(packed(with_manifest(FILES) | {"agents/new/agent.json": b"{}"}))

    def test_file_less(self) -> None:
        entries = with_manifest(FILES)
        del entries[AGENT]
        assert "exactly" in refused(packed(entries))
