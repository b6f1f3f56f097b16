"""Names of container images: what is one, and whether a policy lets it run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::\d{{1,5}})?"
_IMAGE = re.compile(
    rf"(?:(?P<registry>{_HOST})/)??(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
MAXIMUM_IMAGE = 512


def canonical_image(name: str) -> str | None:
    """Return an image's whole name, with the registry and tag that stand for those left out; None where it is none.

    ``python:80/x`` names a registry ``python:80``, not a tag of ``python``: so policies look at whole names only.
    """
    if len(name) > MAXIMUM_IMAGE or _IMAGE.fullmatch(name) is None:
        return None
    return _whole(name)


def image_refusal(name: str, allowed: Sequence[str] | None, *, digests: bool) -> str | None:
    """Return why a policy does not let an image run; None where it does.

    :param allowed: Patterns such as ``python:3.*`` or ``registry.example/acme/*``; None: every image.
    :param digests: Whether it must be named by its digest, which nobody can move.
    """
    whole = canonical_image(name)
    if whole is None:
        return "is no name of an image"
    if digests and "@sha256:" not in whole:
        return "must be named by its digest (`name@sha256:...`)"
    if allowed is None or any(_matches(whole, pattern) for pattern in allowed):
        return None
    return "is not among the images that the organisation may run"


def _matches(whole: str, pattern: str) -> bool:
    wanted = _whole(pattern)
    # A pattern without a digest is about the name; the digest says which of its images.
    return fnmatchcase(whole, wanted) or fnmatchcase(whole.partition("@")[0], wanted)


def _whole(name: str) -> str:
    path, at, digest = name.partition("@")
    first, slash, rest = path.partition("/")
    # As container runtimes tell them apart: a repository has no capitals, so what has some is a registry.
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry, repository = (first, rest) if is_registry else ("docker.io", path)
    if registry == "docker.io" and "/" not in repository and repository != "*":
        repository = f"library/{repository}"
    if ":" not in repository.rpartition("/")[2] and not at and not repository.endswith("*"):
        repository += ":latest"
    return f"{registry}/{repository}{at}{digest}"
