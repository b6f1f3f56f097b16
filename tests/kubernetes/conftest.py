"""A real Kubernetes of the session, with two organisations' namespaces as the control plane makes them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import (
    IMAGE,
    NODE_IMAGE,
    ORGANIZATION,
    OTHER,
    VARIABLE,
    TestCluster,
    cluster_settings,
    exports_of,
)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """A cluster: one that runs already stays, one that had to be started is stopped."""
    folder = Path(os.environ.get(VARIABLE) or "/nonexistent")
    if not (folder / "up").exists():
        pytest.skip(f"{VARIABLE} must name a folder with the scripts `up` and `down` of a cluster for tests")
    started = subprocess.run([folder / "up"], capture_output=True, text=True, check=False)
    if started.returncode != 0:
        pytest.skip(f"the cluster cannot be started here: {started.stderr.strip()[-300:]}")
    made = TestCluster(exports_of(started.stdout), tmp_path_factory.mktemp("pods"), folder)
    try:
        made.image(IMAGE, "--base", "localhost/python:3.11")
        settings = cluster_settings(made)
        made.open(settings)
        for organization in (ORGANIZATION, OTHER):
            made.namespaces.ensure(organization)
        yield made
    finally:
        if "already running" not in started.stderr:
            subprocess.run([folder / "down"], capture_output=True, check=False)
        else:
            made.clean()


def libraries(program: str) -> dict[str, str]:
    """Return the C++ libraries of a program, and where an image has them."""
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(lib(?:stdc\+\+|gcc_s)\.so\.\d+) => (\S+)", linked)
    return {path: f"/usr/lib/x86_64-linux-gnu/{name}" for name, path in found}


@pytest.fixture(scope="session")
def node_image(cluster: TestCluster) -> str:
    """An image with this machine's Node.js."""
    node = cluster.node()
    if node is None:
        pytest.skip("this machine has no Node.js to make an image of")
    added = {node: "/usr/local/bin/node", **libraries(node)}
    options = [option for source, target in added.items() for option in ("--add", f"{source}:{target}")]
    cluster.image(NODE_IMAGE, "--base", "localhost/python:3.11", *options)
    return NODE_IMAGE
