"""Which files a release has, and in which shard each lies."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHARDS = 64
"""Never to be changed: Airflow looks for a run's file where the newest version lies, so no file may ever move."""

_ARTIFACT_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}__[a-z][a-z0-9_]{0,62}(-v[1-9][0-9]{0,8})?\.(py|plan\.json)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RELEASE = re.compile(r"[0-9]{1,18}")


class BundleError(Exception):
    """The control plane's answer cannot be used, or it cannot be reached. A later refresh may succeed."""


@dataclass(frozen=True)
class Release:
    """What the control plane says of a release.

    :param number: The release, as text.
    :param since: The release that ``files`` and ``removed`` differ from; None where ``files`` are all there are.
    :param files: Name -> sha256.
    :param removed: Names that are no longer there.
    """

    number: str
    since: str | None
    files: Mapping[str, str]
    removed: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Release:
        """Read the control plane's answer.

        :raises BundleError: It is of another shape, or names a file that could leave the release's folder.
        """
        try:
            number, since = str(body["release"]), body.get("since")
            files = {str(entry["name"]): str(entry["sha256"]) for entry in body["artifacts"]}
            removed = tuple(str(name) for name in body.get("removed", ()))
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"a release must be {{release, artifacts}}; got {type(body).__name__}") from error
        for each in (number, *([] if since is None else [str(since)])):
            if not _RELEASE.fullmatch(each):
                raise BundleError(f"a release must be a number; got {each!r}")
        for name, digest in files.items():
            if not _ARTIFACT_NAME.fullmatch(name) or not _DIGEST.fullmatch(digest):
                raise BundleError(f"a release must hold compiled workflows by digest; got {name!r}")
        return cls(number, None if since is None else str(since), files, removed)

    def applied_to(self, base: Mapping[str, str]) -> dict[str, str]:
        """Return all files of the release, given those of the release it differs from."""
        if self.since is None:
            return dict(self.files)
        gone = set(self.removed)
        return {name: digest for name, digest in base.items() if name not in gone} | dict(self.files)


@dataclass(frozen=True)
class Shard:
    """The files that lie together: name -> sha256, ordered by name."""

    files: Mapping[str, str]

    @property
    def text(self) -> str:
        """A line for each file, as ``sha256sum`` writes and checks them."""
        return "".join(f"{digest}  {name}\n" for name, digest in self.files.items())

    @property
    def digest(self) -> str:
        """Names the content: the same files are the same shard, in whichever release."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @classmethod
    def from_text(cls, text: str) -> Shard:
        """Read what :attr:`text` gave."""
        lines = (line.split("  ", 1) for line in text.splitlines())
        return cls({name: digest for digest, name in lines})


def shard_of(name: str) -> str:
    """Return the name of the shard of a workflow's file: that of its DAG id, so that plan and DAG lie together."""
    dag_id = name.removesuffix(".py").removesuffix(".plan.json")
    number = int.from_bytes(hashlib.sha256(dag_id.encode()).digest()[:8], "big") % SHARDS
    return f"shard{number:02d}.zip"


def sharded(files: Mapping[str, str]) -> dict[str, Shard]:
    """Return the shards that have files, by name."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in sorted(files):
        found[shard_of(name)][name] = files[name]
    return {name: Shard(members) for name, members in sorted(found.items())}
