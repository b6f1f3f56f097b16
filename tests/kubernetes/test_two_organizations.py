"""The identity with which Airflow starts one organisation's pods can do nothing with another's, nor beyond pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.stream import stream
from websocket import WebSocketBadStatusException

from api.namespaces.cluster import NamespaceError
from tests.kubernetes.cluster import ORGANIZATION, OTHER, PREFIX, RUNNER, TestCluster
from tests.support import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(200)]

OURS, THEIRS = PREFIX + ORGANIZATION, PREFIX + OTHER
POD = "theirs"
MARKER = "their-secret-output"


def pod_body(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "base", "image": RUNNER, "command": ["sh", "-c", f"echo {MARKER}; sleep 600"]}
    container["resources"] = {"limits": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "16Mi"}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], "restartPolicy": "Never", **spec}}


@pytest.fixture(scope="module")
def theirs(cluster: TestCluster) -> Iterator[str]:
    """A running pod of the other organisation, with output and a secret beside it."""
    api = cluster.api()
    api.create_namespaced_pod(THEIRS, pod_body(POD, terminationGracePeriodSeconds=0))
    api.create_namespaced_secret(THEIRS, {"metadata": {"name": "key"}, "stringData": {"k": MARKER}})
    until(lambda: api.read_namespaced_pod(POD, THEIRS).status.phase == "Running")
    yield POD
    api.delete_namespaced_pod(POD, THEIRS)


def run_in(api: client.CoreV1Api, namespace: str) -> str:
    """Run a program in the pod.

    :raises ApiException: It was refused. The client stumbles over the refusal; this is what it stumbles over.
    """
    own = client.CoreV1Api(client.ApiClient(api.api_client.configuration))
    try:
        answer: str = stream(
            own.connect_get_namespaced_pod_exec, POD, namespace, container="base", command=["echo", "inside"],
            stdout=True,
        )  # fmt: skip
    except AttributeError as error:
        seen: BaseException | None = error
        while seen is not None and not isinstance(seen, WebSocketBadStatusException):
            seen = seen.__context__
        raise client.ApiException(status=getattr(seen, "status_code", None)) from None
    return answer


FOREIGN: dict[str, Callable[[client.CoreV1Api], Any]] = {
    "list": lambda api: api.list_namespaced_pod(THEIRS),
    "list all": lambda api: api.list_pod_for_all_namespaces(),
    "read": lambda api: api.read_namespaced_pod(POD, THEIRS),
    "log": lambda api: api.read_namespaced_pod_log(POD, THEIRS),
    "exec": lambda api: run_in(api, THEIRS),
    "create": lambda api: api.create_namespaced_pod(THEIRS, pod_body("intruder")),
    "patch": lambda api: api.patch_namespaced_pod(POD, THEIRS, {"metadata": {"labels": {"x": "y"}}}),
    "delete": lambda api: api.delete_namespaced_pod(POD, THEIRS),
    "delete all": lambda api: api.delete_collection_namespaced_pod(THEIRS),
    "events": lambda api: api.list_namespaced_event(THEIRS),
    "secrets": lambda api: api.list_namespaced_secret(THEIRS),
}
BEYOND: dict[str, Callable[[client.CoreV1Api], Any]] = {
    "namespaces": lambda api: api.list_namespace(),
    "a namespace": lambda api: api.create_namespace({"metadata": {"name": "mine"}}),
    "nodes": lambda api: api.list_node(),
    "its own secrets": lambda api: api.list_namespaced_secret(OURS),
    "a token": lambda api: api.create_namespaced_service_account_token("airflow", OURS, {"spec": {"audiences": []}}),
    "its quota": lambda api: api.delete_namespaced_resource_quota("agent-factory", OURS),
    "its limits": lambda api: api.patch_namespaced_limit_range("agent-factory", OURS, {"spec": {"limits": []}}),
    "its network": lambda api: client.NetworkingV1Api(api.api_client).delete_namespaced_network_policy(
        "deny-all", OURS
    ),
    "its role": lambda api: client.RbacAuthorizationV1Api(api.api_client).patch_namespaced_role(
        "airflow", OURS, {"rules": []}
    ),
    "a volume": lambda api: api.create_namespaced_persistent_volume_claim(OURS, {"metadata": {"name": "x"}}),
    "a service": lambda api: api.create_namespaced_service(OURS, {"metadata": {"name": "x"}}),
    "a node by proxy": lambda api: api.connect_get_node_proxy("x"),
}


@pytest.mark.parametrize("act", [*FOREIGN.values(), *BEYOND.values()], ids=[*FOREIGN, *BEYOND])
def test_refused(act: Callable[[client.CoreV1Api], Any], cluster: TestCluster, theirs: str) -> None:
    assert theirs
    with pytest.raises(client.ApiException) as refusal:
        act(cluster.airflow_api())
    assert refusal.value.status == 403
    assert MARKER not in str(refusal.value.body)


def test_the_same_is_permitted_to_the_other(cluster: TestCluster, theirs: str) -> None:
    """So the refusals above are of rights, and not of calls that never work."""
    api = cluster.airflow_api(OTHER)
    assert [pod.metadata.name for pod in api.list_namespaced_pod(THEIRS).items] == [theirs]
    assert MARKER in api.read_namespaced_pod_log(POD, THEIRS)
    assert run_in(api, THEIRS).strip() == "inside"


def test_the_other_is_untouched(cluster: TestCluster, theirs: str) -> None:
    pods = cluster.api().list_namespaced_pod(THEIRS).items
    assert [(pod.metadata.name, pod.metadata.labels) for pod in pods] == [(theirs, None)]


def account_uid(cluster: TestCluster) -> str:
    uid: str = cluster.api().read_namespaced_service_account("airflow", OURS).metadata.uid
    return uid


def works(cluster: TestCluster) -> bool:
    """Tell whether Airflow's way in is one."""
    try:
        cluster.airflow_api().list_namespaced_pod(OURS)
    except client.ApiException as refusal:
        if refusal.status != 401:
            raise
        return False
    return True


def test_a_good_way_in_stays(cluster: TestCluster) -> None:
    path = cluster.folder / f"{ORGANIZATION}.kubeconfig"
    before = path.read_text()
    cluster.namespaces.ensure(ORGANIZATION)
    assert path.read_text() == before


def test_an_account_that_was_deleted_is_there_again_with_a_way_in(cluster: TestCluster) -> None:
    """A token is of one account, not of whichever has its name."""
    before = account_uid(cluster)
    cluster.api().delete_namespaced_service_account("airflow", OURS)
    until(lambda: not works(cluster))
    cluster.namespaces.ensure(ORGANIZATION)
    assert account_uid(cluster) != before
    until(lambda: works(cluster))


def test_a_namespace_that_was_deleted_is_there_again_with_a_way_in(cluster: TestCluster) -> None:
    cluster.api().delete_namespace(OURS)
    until(lambda: not any(each.metadata.name == OURS for each in cluster.api().list_namespace().items))
    cluster.namespaces.ensure(ORGANIZATION)
    until(lambda: works(cluster))


def test_what_somebody_changed_is_put_back(cluster: TestCluster) -> None:
    api = cluster.api()
    rbac = client.RbacAuthorizationV1Api(api.api_client)
    rbac.patch_namespaced_role(
        "airflow", OURS, [{"op": "replace", "path": "/rules", "value": [{"apiGroups": [""], "resources": ["secrets"],
         "verbs": ["*"]}]}],
    )  # fmt: skip
    client.NetworkingV1Api(api.api_client).delete_namespaced_network_policy("deny-all", OURS)
    cluster.namespaces.ensure(ORGANIZATION)
    granted = {resource for rule in rbac.read_namespaced_role("airflow", OURS).rules for resource in rule.resources}
    assert granted == {"pods", "pods/log", "pods/exec", "events"}
    policy = client.NetworkingV1Api(api.api_client).read_namespaced_network_policy("deny-all", OURS)
    assert (policy.spec.pod_selector.match_labels, policy.spec.egress) == (None, None)
    labels = api.read_namespace(OURS).metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted", json.dumps(labels)


def test_a_namespace_of_a_deleted_organization_is_gone(cluster: TestCluster) -> None:
    cluster.namespaces.ensure("leaving")
    path = cluster.folder / "leaving.kubeconfig"
    assert path.exists()

    def is_gone() -> bool:
        try:
            cluster.namespaces.remove("leaving")
        except NamespaceError as error:
            if "it is being removed" not in str(error):
                raise
            return False
        return True

    assert not is_gone()
    assert not path.exists()
    until(is_gone)
    assert PREFIX + "leaving" not in {each.metadata.name for each in cluster.api().list_namespace().items}


def test_a_namespace_that_is_not_ours_stays(cluster: TestCluster) -> None:
    foreign = client.V1Namespace(metadata=client.V1ObjectMeta(name=PREFIX + "foreign"))
    cluster.api().create_namespace(foreign)
    try:
        with pytest.raises(NamespaceError, match="it has not the labels"):
            cluster.namespaces.remove("foreign")
        assert cluster.api().read_namespace(PREFIX + "foreign").metadata.deletion_timestamp is None
    finally:
        cluster.api().delete_namespace(PREFIX + "foreign")
