"""What steps leave in their folders is removed, however they have made it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from operators.sandbox import folders

pytestmark = pytest.mark.unit


def nest(folder: Path, depth: int, name: str = "d") -> None:
    """Make folders in each other, more than a path can name."""
    program = (
        "import os, sys\nfor _ in range(int(sys.argv[1])):\n    os.mkdir(sys.argv[2])\n    os.chdir(sys.argv[2])\n"
        "open('file', 'w').write('x')"
    )
    subprocess.run([sys.executable, "-c", program, str(depth), name], cwd=folder, check=True)


@pytest.mark.parametrize(("depth", "name"), [(1_500, "d"), (100, "d" * 200)])
def test_what_is_nested_deeply_goes(depth: int, name: str, tmp_path: Path) -> None:
    nest(tmp_path, depth, name)
    (tmp_path / "beside").write_text("x")
    folders.empty(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_closed_folders_links_and_pipes_go_and_nothing_beyond_them(tmp_path: Path) -> None:
    kept, folder = tmp_path / "kept", tmp_path / "folder"
    (kept / "inner").mkdir(parents=True)
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "link").symlink_to(kept)
    (folder / "link").symlink_to(kept)
    os.mkfifo(folder / "a" / "pipe")
    for path in ("a/b/c", "a/b", "a"):
        (folder / path).chmod(0)
    folders.remove(str(folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (kept / "inner").is_dir()


def test_what_cannot_be_removed_is_left_and_the_rest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stays").mkdir()
    (tmp_path / "goes").mkdir()
    rmdir = os.rmdir

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if path == "stays":
            raise PermissionError
        rmdir(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", refuse)
    folders.empty(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["stays"]


class TestSizes:
    def test_files_are_added_up(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 100_000)
        assert folders.is_larger(str(tmp_path), 50_000, 10)
        assert not folders.is_larger(str(tmp_path), 200_000, 10)
        assert folders.is_larger(str(tmp_path), 200_000, 2)

    def test_deep_folders_are_looked_through(self, tmp_path: Path) -> None:
        nest(tmp_path, 1_500)
        assert not folders.is_larger(str(tmp_path), 50_000, 16_384)
        assert folders.is_larger(str(tmp_path), 50_000, 1_000)
        folders.empty(str(tmp_path))

    def test_folders_too_deep_to_look_through_count_as_too_large(self, tmp_path: Path) -> None:
        nest(tmp_path, 100, "d" * 200)
        assert folders.is_larger(str(tmp_path), 50_000, 16_384)
        folders.empty(str(tmp_path))
