"""What is published survives the change from lists of files to files that come and go, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import URL

from api.migrate import migrate

pytestmark = pytest.mark.platform

MANIFESTS: dict[int, dict[str, str]] = {
    1: {"acme__a.py": "1"},
    2: {"acme__a.py": "1", "b-b__a.py": "2"},
    3: {"acme__a.py": "3", "b-b__a.py": "2"},
    4: {"acme__a.py": "1", "b-b__a.py": "2"},
}
"""Number -> name -> digest: one that comes, one that changes, one that comes back."""


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@pytest.fixture
def engine(owner_url: URL) -> Iterator[Engine]:
    engine = create_engine(owner_url)
    yield engine
    engine.dispose()


def go_down(owner_url: URL, engine: Engine) -> None:
    """Go back to the time of the lists."""
    while "manifest" not in [column["name"] for column in inspect(engine).get_columns("releases")]:
        migrate(owner_url, "-1")


def entries(number: int) -> list[dict[str, Any]]:
    return [{"name": name, "sha256": digest, "size": 1} for name, digest in sorted(MANIFESTS[number].items())]


def test_files_of_every_release_stay(owner_url: URL, engine: Engine) -> None:
    go_down(owner_url, engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO organizations (slug, name) VALUES ('acme', ''), ('b-b', '')"))
        statement = "INSERT INTO artifacts (organization_id, sha256, content, size) SELECT id, :sha256, '', 1"
        for digest in ("1", "2", "3"):
            connection.execute(text(f"{statement} FROM organizations"), {"sha256": digest})
        for number in MANIFESTS:
            values = {"number": number, "manifest": json.dumps(entries(number))}
            connection.execute(text("INSERT INTO releases (number, manifest) VALUES (:number, :manifest)"), values)
    migrate(owner_url)
    with engine.begin() as connection:
        rows = connection.execute(
            text("SELECT name, valid_from, valid_to, sha256 FROM release_artifacts ORDER BY name, valid_from")
        )
        assert [tuple(row) for row in rows] == [
            ("acme__a.py", 1, 3, "1"),
            ("acme__a.py", 3, 4, "3"),
            ("acme__a.py", 4, None, "1"),
            ("b-b__a.py", 2, None, "2"),
        ]
    go_down(owner_url, engine)
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT number, manifest FROM releases ORDER BY number"))
        assert {row.number: row.manifest for row in rows} == {number: entries(number) for number in MANIFESTS}
