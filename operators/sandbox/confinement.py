"""What a step's process is kept from, as far as the kernel and our rights allow. Linux, standard library only.

With root: an own user id for each keeper, and namespaces for processes, mounts, IPC and (``network: none``) the
network. Without root: the same namespaces inside a user namespace, where the machine permits those. Limits and an empty
environment always.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from dataclasses import dataclass

from operators.sandbox.processes import die_with_parent

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
)  # fmt: skip
CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID = 0, 5, 6, 7
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  # hidden behind an own file system, never shared
MAXIMUM_PROCESSES = 64
"""Of a step, threads counted too; Node alone has about twelve."""
MAXIMUM_FILES = 256
NODE_MEMORY = 64 << 20
"""What Node writes to before any code of a tenant's runs is 48 MB."""
UIDS = (1_900_000_000, 30_000)
"""Where own user ids begin: beyond every range that Debian or systemd hand out, or where a container has no such ids,
below its 65,536."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Confinement:
    """The protections that are at work.

    :param uid: The steps' own user id; None: they run as the platform's user.
    :param namespaces: Which namespaces are the steps' own: ``pid, mount, ipc, net, user``.
    :param counts_processes: Whether the kernel limits their number. It counts all of a user id, so that must not be
        where others have the same one: in pods, which the keeper's watch and the node limit instead.
    """

    uid: int | None
    namespaces: tuple[str, ...]
    counts_processes: bool = True

    @property
    def own_processes(self) -> bool:
        """Whether steps see and reach no processes but those below their keeper."""
        return "pid" in self.namespaces


def own_uid() -> int | None:
    """Return a user id that no other process has, or None where this process may not become it, or not end it."""
    with open("/proc/self/status") as file:
        rights = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    if any(not rights >> number & 1 for number in (CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID)):
        return None
    with open("/proc/self/uid_map") as file:
        ranges = [[int(number) for number in line.split()] for line in file]
    for base, spread in zip(UIDS, (1 << 22, 20_000), strict=True):
        uid = base + os.getpid() % spread
        if any(inside <= uid < inside + count for inside, _, count in ranges):
            return uid
    return None


def enter_namespaces(*, network: bool, user: bool) -> tuple[str, ...]:
    """Leave the namespaces that we may; the next child is then the first process of its own pid namespace.

    :param network: Whether steps may use the network.
    :param user: Whether to use a user namespace where nothing else is permitted; it knows no other user ids.
    :return: Those that were left; () where none could be.
    """
    uid, gid = os.geteuid(), os.getegid()
    names = ["pid", "mount", "ipc", *([] if network else ["net"])]
    flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | (0 if network else CLONE_NEWNET)
    if _libc.unshare(flags) != 0:
        if not user or _libc.unshare(flags | CLONE_NEWUSER) != 0:
            return ()
        names.append("user")
        with contextlib.suppress(OSError):
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    return tuple(names)


def show_own_processes() -> None:
    """Make ``/proc`` show the processes of our pid namespace; where that is not permitted it shows the old ones."""
    _libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV, None)


def hide_from_steps() -> None:
    """Close our memory and descriptors to steps, even where they have our user id."""
    _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def private_scratch(size: int) -> bool:
    """Lay a new, empty file system of a size over the folders everybody may write to. It goes with this process."""
    if _libc.unshare(CLONE_NEWNS) != 0:
        return False
    _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    options = f"size={size},mode=1777,nr_inodes=16384".encode()
    first, *others = [folder.encode() for folder in SCRATCH if os.path.isdir(folder)]
    if _libc.mount(b"scratch", first, b"tmpfs", MS_NOSUID | MS_NODEV, options) != 0:
        return False
    for folder in others:
        _libc.mount(first, folder, None, MS_BIND, None)
    return True


def be_killed_first() -> None:
    """Where the machine runs out of memory, let the kernel take a step before anything of the platform's."""
    with contextlib.suppress(OSError):
        _write("/proc/self/oom_score_adj", "1000")


def limit(*, cpu_seconds: int, memory: int, file_size: int, counts_data: bool) -> None:
    """Set this process's limits, which its children inherit.

    :param memory: In bytes, beyond what the process has already.
    :param counts_data: Limit what is written to instead of all addresses: Node reserves gigabytes it never uses.
    """
    kind = resource.RLIMIT_DATA if counts_data else resource.RLIMIT_AS
    _lower(kind, memory + (NODE_MEMORY if counts_data else _address_space()))
    _lower(resource.RLIMIT_CPU, cpu_seconds, kill_after=1)
    _lower(resource.RLIMIT_FSIZE, file_size)
    _lower(resource.RLIMIT_NOFILE, MAXIMUM_FILES)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_MEMLOCK, 0)
    _lower(resource.RLIMIT_MSGQUEUE, 0)


def become(confinement: Confinement, keeper: int) -> None:
    """Give up every right this process need not have, for good.

    :param keeper: The process that started this one, and without which it must not be.
    """
    if confinement.counts_processes:
        others = 0 if confinement.uid is not None or "user" in confinement.namespaces else _tasks_of(os.getuid())
        _lower(resource.RLIMIT_NPROC, others + MAXIMUM_PROCESSES)
    if confinement.uid is not None:
        os.setgroups([])
        os.setresgid(confinement.uid, confinement.uid, confinement.uid)
        os.setresuid(confinement.uid, confinement.uid, confinement.uid)
    _drop_capabilities()
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # After the change of user, which forgets it.
    die_with_parent(signal.SIGKILL)
    if os.getppid() != keeper:
        # It was killed before the kernel knew what to do then.
        os._exit(125)


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _libc.capset(header, (ctypes.c_uint32 * 6)())


def _lower(kind: int, value: int, *, kill_after: int = 0) -> None:
    """Set a limit; of processor seconds the soft one is told by SIGXCPU, the hard one by SIGKILL."""
    _, hard = resource.getrlimit(kind)
    top = value + kill_after if hard == resource.RLIM_INFINITY else min(value + kill_after, hard)
    resource.setrlimit(kind, (min(value, top), top))


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _tasks_of(uid: int) -> int:
    """Count the threads of a user: his limit of processes counts all of them."""
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{entry}/task"))
    return count


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
