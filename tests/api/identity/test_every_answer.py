"""Every operation of the OpenAPI document, those to come too, asked for things that are there: its answers are
documented, and it does what it is for at least once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, strategies
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.settings import Settings
from tests.api.control_plane import WORKFLOW_ID, ControlPlane, lease_request, webhook, workflow
from tests.api.identity.people import People
from tests.api.identity.things import BODIES, METHODS, OURS, QUERIES, own_things

pytestmark = pytest.mark.platform

EXAMPLES = 5
"""Requests for each operation that fit the document, and as many that do not."""
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
NO_CLUSTER = "there is no Kubernetes here"
NEVER = {
    "GET /runtime/v1/executions/{execution_id}/pods": NO_CLUSTER,
    "PUT /runtime/v1/executions/{execution_id}/outputs/{sha256}": "its body is bytes: see tests/api/objects",
}
"""Operations that no request of these tests succeeds with, and why. Those of ``/api/v1`` that change something all
succeed in ``tests/api/audit/test_every_change.py``, where their answers are looked at too."""


def right_bodies(ids: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return bodies of the runtime API that make an operation succeed."""
    unit = {"unit": ids["unit"], "token": ids["token"]}
    execution = "/runtime/v1/executions/{execution_id}"
    return {
        "POST /runtime/v1/artifacts": {"sha256": [ids["plan_digest"]]},
        f"POST {execution}/steps": {"steps": [], **unit},
        f"POST {execution}/finish": {"status": "success", **unit},
        "POST /runtime/v1/workflows/{organization}/{workflow_id}/executions": {"input": {"name": "Ann"}},
        f"PUT {execution}/approvals/{{step_id}}": {"epoch": 0, "title": "Sure?"},
    }


def must_succeed(operation: Any) -> bool:
    """Tell whether an operation has to do here what it is for."""
    return operation.method == "get" or not operation.path.startswith("/api/v1/")


class Asker:
    """Asks one operation, and notes what it was answered.

    :param ids: Of what is there, by the names that routes and bodies have for them.
    """

    def __init__(self, operation: Any, token: str, ids: dict[str, Any]) -> None:
        self._operation = operation
        self._token = token
        self._ids = ids
        self.statuses: set[int] = set()

    def ask(self) -> None:
        """Send a right request, some that fit the document, and some that do not.

        :raises Exception: An answer is none that the document has.
        """
        self._send_right()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                self._send(mode)
            except Unsatisfiable:  # Nothing that it takes can be wrong.
                assert mode is GenerationMode.NEGATIVE

    def _send_right(self) -> None:
        names = {parameter.name: self._ids[parameter.name] for parameter in self._operation.path_parameters}
        arguments: dict[str, Any] = {"path_parameters": names, "query": QUERIES.get(self._operation.path, {})}
        body = self._right_body()
        if body is not None:
            arguments |= {"body": body, "media_type": "application/json"}
        self._call(self._operation.Case(**arguments, headers={"if-match": "*"}))

    def _right_body(self) -> Any:
        """Return a body that is right, with ids of what is there; None where the operation takes none."""
        declared = self._operation.definition.raw.get("requestBody", {}).get("content", {}).get("application/json")
        if declared is None:
            return None
        label = self._operation.label
        if self._operation.path.startswith("/runtime/") and label in right_bodies(self._ids):
            return right_bodies(self._ids)[label]
        return self._known(BODIES.get(label, {}))

    def _send(self, mode: GenerationMode) -> None:
        @given(case=self._operation.as_strategy(generation_mode=mode), known=strategies.booleans())
        @hypothesis_settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def examine(case: Any, known: bool) -> None:
            if known:
                case.path_parameters = self._known(case.path_parameters or {})
                if isinstance(case.body, dict):
                    case.body = self._known(case.body)
            self._call(case)

        examine()

    def _known(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return names with the ids of what is there in the place of those that were made up."""
        return {name: self._ids.get(name, value) for name, value in names.items()}

    def _call(self, case: Any) -> None:
        answer = case.call(headers={"authorization": f"Bearer {self._token}"}, timeout=20)
        self.statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)


def in_turn(operation: Any) -> tuple[bool, int, int, str]:
    """Reads first, then what changes things, and what removes them at the end: the parts before the whole."""
    late = operation.path.endswith(("/archive", "/deletion"))
    return late, METHODS.index(operation.method), -len(operation.path), operation.path


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a folder for objects; and nobody waits here for what does not happen."""
    return settings.model_copy(update={"max_wait_seconds": 0.1, "object_folder": tmp_path})


async def publish_doors(plane: ControlPlane) -> None:
    """Publish webhooks that anybody may call, one for each method."""
    nothing = {"id": "hello", "type": "transform", "config": {"set": {"a": 1}}}
    for method in METHODS:
        door = webhook("open", method=method.upper())
        await plane.publish(workflow(id=f"open_{method}", trigger=door, input={"type": "object"}, tasks=[nothing]))


async def running_things(plane: ControlPlane) -> dict[str, Any]:
    """Return ids for the runtime API and the webhooks: of an execution that runs."""
    plan_digest = (await plane.publish())["digest"]
    running = await plane.execute()
    grant = await plane.lease(running, plan_digest)
    output = b'{"large": true}'
    digest = hashlib.sha256(output).hexdigest()
    kept = await plane.runtime.put(f"/runtime/v1/executions/{running}/outputs/{digest}", content=output)
    assert kept.status_code == 204, kept.text
    return lease_request(plan_digest) | {
        "execution_id": running, "token": grant["token"], "path": "open", "slug": WORKFLOW_ID, "step_id": "hello",
        "provider": "openai", "sha256": digest, "job": "partitions", "child_id": running, "number": "1",
    }  # fmt: skip


@pytest.mark.timeout(300)
async def test_answers_as_documented(
    control_plane: ControlPlane, served_url: str, people: People, ours: dict[str, str]
) -> None:
    schema = schemathesis.openapi.from_dict(control_plane.app.openapi())
    schema.config.update(base_url=served_url)
    schema.config.phases.coverage.enabled = False
    await publish_doors(control_plane)
    problems: list[str] = []
    statuses: dict[str, set[int]] = defaultdict(set)
    operations = sorted((result.ok() for result in schema.get_all_operations()), key=in_turn)
    for number, operation in enumerate(operations):
        if operation.path.startswith(("/runtime/", "/webhook/")):
            asker = Asker(operation, "runtime-token", await running_things(control_plane))
        else:
            email = f"owner-{number}@x.test"
            client = await people.client("organization_owner", OURS, email)
            token = client.headers["authorization"].removeprefix("Bearer ")
            asker = Asker(operation, token, ours | await own_things(people, email, operation.path) | {"provider": "x"})
        try:
            await asyncio.to_thread(asker.ask)
        except (Exception, FailureGroup) as error:
            problems.append(f"{operation.label}: {words(error)}")
        statuses[operation.label] |= asker.statuses
    assert len(operations) > 100
    assert not problems, "\n\n".join(problems)
    expected = {operation.label for operation in operations if must_succeed(operation)}
    never = {label for label in expected if not any(200 <= each < 300 for each in statuses[label])}
    differing = {label: sorted(statuses[label]) for label in sorted(never ^ NEVER.keys())}
    assert not differing, "\n".join(f"{label}: {seen}" for label, seen in differing.items())


def words(error: BaseException) -> str:
    """Return what went wrong in one line, of each of several."""
    inner = getattr(error, "exceptions", None)
    return "; ".join(map(words, inner)) if inner else f"{type(error).__name__}: {error}"
