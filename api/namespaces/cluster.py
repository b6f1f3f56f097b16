"""The cluster as the control plane uses it: blocking calls, run in threads."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from api.namespaces.objects import ACCOUNT, ORGANIZATION, namespace, objects
from api.settings import Settings
from operators.execution.records import PodSettings
from operators.pods import warm
from operators.pods.cluster import Cluster, ClusterError
from operators.pods.spec import LABEL, MANAGER, selector

TOKEN_SECONDS = 24 * 3600
"""Life of the token in a kubeconfig; renewed at a third of it."""
TIMEOUT = (5, 30)
APPLY = "application/apply-patch+yaml"
ANSWERS = {200: "object", 201: "object"}
PATHS = {
    "ResourceQuota": "/api/v1/namespaces/{}/resourcequotas",
    "LimitRange": "/api/v1/namespaces/{}/limitranges",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}


class NamespaceError(Exception):
    """A namespace could not be made or read; the message holds no secrets."""


@dataclass(frozen=True, slots=True)
class FoundPod:
    """A pod in an organisation's namespace.

    :param execution: What its label says; anybody's text where somebody else made it.
    """

    name: str
    uid: str
    execution: str
    made: datetime


class Namespaces:
    """The organisations' namespaces.

    :raises NamespaceError: The cluster's kubeconfig cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        from kubernetes import client, config

        self._settings = settings
        configuration = client.Configuration()
        try:
            if settings.kubernetes_config == "in-cluster":
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(config_file=settings.kubernetes_config, client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise NamespaceError(f"the cluster's kubeconfig cannot be used: {type(error).__name__}") from None
        self._configuration = configuration
        self._client = client.ApiClient(configuration)
        self._api = client.CoreV1Api(self._client)

    def ensure(self, organization: str) -> None:
        """Make an organisation's namespace, or set it right; doing it twice is harmless.

        Each object is *applied*: what somebody changed in what is ours is put back, what others added stays.

        :raises NamespaceError: The API server refused, or is away.
        """
        name = self._settings.namespace_of(organization)
        try:
            self._apply(f"/api/v1/namespaces/{name}", namespace(name, organization))
            account = ""
            for each in objects(name, self._settings.quota_of(organization), self._settings.pod_egress):
                path = PATHS[each["kind"]].format(name)
                applied = self._apply(f"{path}/{each['metadata']['name']}", each)
                if each["kind"] == "ServiceAccount":
                    account = applied["metadata"]["uid"]
            if self._settings.pod_configs is not None:
                self._write_config(self._settings.pod_configs / f"{organization}.kubeconfig", name, account)
        except _errors() as error:
            raise NamespaceError(f"namespace {name!r}: {_reason(error)}") from None

    def warm(self, organization: str, settings: PodSettings) -> dict[str, int]:
        """Keep an organisation's warm pods; return the counts of :func:`operators.pods.warm.keep`.

        :raises NamespaceError: The API server refused, or is away.
        """
        try:
            return warm.keep(Cluster(self._api, settings.namespace), settings)
        except ClusterError as error:
            raise NamespaceError(f"the warm pods of {organization!r}: {error}") from None

    def pods(self, organization: str, execution_id: UUID | None = None) -> list[FoundPod]:
        """Return an organisation's pods, of one execution or of all; the idle ones have no execution and are left out.

        :raises NamespaceError: The API server refused, or is away.
        """
        name = self._settings.namespace_of(organization)
        labels = MANAGER | ({} if execution_id is None else {LABEL + "execution": str(execution_id)})
        try:
            found = self._api.list_namespaced_pod(
                name, label_selector=f"{selector(labels)},!{warm.POOL}", _request_timeout=TIMEOUT
            )
        except _errors() as error:
            if getattr(error, "status", None) == 404:
                return []
            raise NamespaceError(f"namespace {name!r}: {_reason(error)}") from None
        return [
            FoundPod(
                pod.metadata.name,
                pod.metadata.uid,
                (pod.metadata.labels or {}).get(LABEL + "execution", ""),
                pod.metadata.creation_timestamp,
            )
            for pod in found.items
        ]

    def delete_pod(self, organization: str, pod: FoundPod) -> None:
        """Delete a pod; harmless where it is gone, and where another one has its name by now.

        :raises NamespaceError: The API server refused, or is away.
        """
        from kubernetes.client import V1DeleteOptions, V1Preconditions

        name = self._settings.namespace_of(organization)
        only_this = V1DeleteOptions(preconditions=V1Preconditions(uid=pod.uid))
        try:
            self._api.delete_namespaced_pod(pod.name, name, body=only_this, _request_timeout=TIMEOUT)
        except _errors() as error:
            if getattr(error, "status", None) not in (404, 409):
                raise NamespaceError(f"pod {pod.name!r}: {_reason(error)}") from None

    def remove(self, organization: str) -> None:
        """Remove an organisation's namespace with all that is in it, and Airflow's way in. Once more does no harm.

        :raises NamespaceError: It is not gone yet, is none of ours, or the API server refused or is away.
        """
        if self._settings.pod_configs is not None:
            (self._settings.pod_configs / f"{organization}.kubeconfig").unlink(missing_ok=True)
        name = self._settings.namespace_of(organization)
        try:
            found = self._api.read_namespace(name, _request_timeout=TIMEOUT)
            if not MANAGER.items() <= (found.metadata.labels or {}).items():
                raise NamespaceError(f"namespace {name!r}: it has not the labels of one that we made")
            self._api.delete_namespace(name, _request_timeout=TIMEOUT)
        except _errors() as error:
            if getattr(error, "status", None) == 404:
                return
            if getattr(error, "status", None) != 409:
                raise NamespaceError(f"namespace {name!r}: {_reason(error)}") from None
        raise NamespaceError(f"namespace {name!r}: it is being removed")

    def _apply(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        query = [("fieldManager", "agent-factory"), ("force", "true")]
        headers = {"Content-Type": APPLY, "Accept": "application/json"}
        # JSON is YAML.
        applied, _, _ = self._client.call_api(
            path, "PATCH", {}, query, headers, body=content, auth_settings=["BearerToken"], response_types_map=ANSWERS,
            _request_timeout=TIMEOUT,
        )  # fmt: skip
        return dict(applied)

    def _write_config(self, path: Path, name: str, account: str) -> None:
        """Write the kubeconfig with which Airflow starts the organisation's pods, unless the one there is still good.

        :param account: UID of the service account: a token of one that was deleted is good for nothing.
        """
        if _is_fresh(path) and account_of(path) == account:
            return
        asked = {"spec": {"expirationSeconds": TOKEN_SECONDS, "audiences": []}}
        answer, _, _ = self._client.call_api(
            f"/api/v1/namespaces/{name}/serviceaccounts/{ACCOUNT}/token", "POST", {}, [],
            {"Accept": "application/json", "Content-Type": "application/json"}, body=asked,
            auth_settings=["BearerToken"], response_types_map=ANSWERS, _request_timeout=TIMEOUT,
        )  # fmt: skip
        write_config(path, kubeconfig(self._configuration, name, account, answer["status"]["token"]))


def kubeconfig(configuration: Any, name: str, account: str, token: str) -> dict[str, Any]:
    """Return a kubeconfig for a service account of a namespace; it says which account, by its UID."""
    cluster: dict[str, Any] = {"server": configuration.host}
    if configuration.ssl_ca_cert:
        cluster["certificate-authority-data"] = base64.b64encode(Path(configuration.ssl_ca_cert).read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pods",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": "pods", "context": {"cluster": "cluster", "user": ACCOUNT, "namespace": name}}],
        "extensions": [{"name": "agent-factory", "extension": {"account": account}}],
    }


def account_of(path: Path) -> str | None:
    """Return the UID of the account that a kubeconfig is for; None where it does not say it, or cannot be read."""
    try:
        [extension] = json.loads(path.read_text())["extensions"]
        return str(extension["extension"]["account"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_fresh(path: Path) -> bool:
    return path.is_file() and datetime.now(UTC).timestamp() - path.stat().st_mtime < TOKEN_SECONDS / 3


def write_config(path: Path, content: dict[str, Any]) -> None:
    """Write a file that only we may read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    os.replace(part, path)


def _errors() -> tuple[type[Exception], ...]:
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    return ApiException, HTTPError, OSError


def _reason(error: Exception) -> str:
    status = getattr(error, "status", None)
    return f"the API server answered HTTP {status}" if status else f"the API server is away ({type(error).__name__})"


__all__ = ["ORGANIZATION", "FoundPod", "NamespaceError", "Namespaces", "kubeconfig", "write_config"]
