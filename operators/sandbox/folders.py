"""Looking through and removing folders in which code of a tenant was at work. Standard library only.

Such folders may be nested more deeply than our own calls can be, and than a path can be long; so nothing here calls
itself, and nothing that is removed is named by its whole path.
"""

from __future__ import annotations

import contextlib
import errno
import os


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, as far as it is ours to remove. No process may be at work in it."""
    _open_up(folder)
    empty(folder)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def empty(folder: str) -> None:
    """Remove what is in a folder, as :func:`remove`.

    A folder in a folder is moved up before the one around it goes, so that each is one step away when its turn comes.
    """
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # Those that cannot be removed are left; the others come up until there are no more.
        left: set[str] = set()
        while names := [name for name in os.listdir(top) if name not in left]:
            left.update(name for name in names if not _remove_entry(top, name))
    finally:
        os.close(top)


def _remove_entry(top: int, name: str) -> bool:
    """Remove an entry of a folder, tell whether it is gone. The folders in it are moved up."""
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=top)
        return True
    with contextlib.suppress(OSError):
        _open_up(name, top)
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
        try:
            for each in os.listdir(inside):
                _lift(each, inside, top)
        finally:
            os.close(inside)
        os.rmdir(name, dir_fd=top)
        return True
    return False


def _lift(name: str, inside: int, top: int) -> None:
    """Remove a file of a folder, or move a folder in it up, by a name that nobody has."""
    try:
        os.unlink(name, dir_fd=inside)
    except OSError:
        # It may be closed to us, and a folder that moves is written to.
        _open_up(name, inside)
        os.rename(name, os.urandom(16).hex(), src_dir_fd=inside, dst_dir_fd=top)


def _open_up(name: str, around: int | None = None) -> None:
    """Let us into a folder of our own that a step has closed. Root needs none of it, and must not be led by a link."""
    if os.geteuid() != 0:
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=around)


def is_larger(folder: str, size: int, entries: int) -> bool:
    """Tell whether a folder's files take more than a size, or are too many or too deep to look at again and again."""
    todo = [folder]
    while todo:
        try:
            with os.scandir(todo.pop()) as found:
                for entry in found:
                    entries -= 1
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        size -= _size_of(entry)
                    if size < 0 or entries < 0:
                        return True
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return True
    return False


def _size_of(entry: os.DirEntry[str]) -> int:
    with contextlib.suppress(OSError):
        return entry.stat(follow_symlinks=False).st_blocks * 512
    return 0
