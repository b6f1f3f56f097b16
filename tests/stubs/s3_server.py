"""A server that speaks S3's protocol: moto's, in an environment of its own, for it does not go with our pins."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = ("moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5", "docker==7.2.0", "py-partiql-parser==0.6.3", "boto3")
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
MAKING_SECONDS = 300
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


class NoServerError(Exception):
    """The environment cannot be made here; the message says why."""


def environment() -> Path:
    """Return the folder of an environment with the server, made at the first call on a machine and kept.

    :raises NoServerError: It cannot be made.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agent-factory-tests"
    folder = cache / f"moto-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        try:
            _uv("venv", "--python", sys.executable, "--relocatable", f"{made}/env")
            _uv("pip", "install", "--python", f"{made}/env/bin/python", *PACKAGES)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            raise NoServerError(f"no environment for moto can be made: {str(said).strip()[-300:]}") from None
        try:
            os.rename(f"{made}/env", folder)
        except OSError:
            # Another process was first.
            assert folder.exists()
    return folder


def _uv(*arguments: str) -> None:
    program = Path(sys.executable).parent / "uv"
    command = [str(program) if program.exists() else "uv", *arguments, "--quiet"]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=MAKING_SECONDS)


class S3Server:
    """A running server. Its objects are in its memory.

    :param url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self) -> Any:
        """Return a client that may do anything."""
        import boto3

        session = boto3.session.Session(
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"]
        )
        return session.client("s3", endpoint_url=self.url, region_name=KEYS["AWS_DEFAULT_REGION"])

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket's objects."""
        listed = self.client().list_objects_v2(Bucket=bucket)
        return [each["Key"] for each in listed.get("Contents", ())]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server on a port of its own.

    :raises NoServerError: It cannot be had here.
    """
    command = [str(environment() / "bin/python"), "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=kept | KEYS)
    assert process.stdout is not None
    try:
        found = None
        for line in process.stdout:
            found = _RUNNING.search(line)
            if found is not None:
                break
        if found is None:
            raise NoServerError(f"moto's server ended at once, with code {process.wait()}")
        yield S3Server(found[1])
    finally:
        process.terminate()
        process.communicate()
