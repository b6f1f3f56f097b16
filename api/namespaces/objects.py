"""What an organisation's namespace holds, as Kubernetes takes it. Names and numbers of ours only."""

from __future__ import annotations

import ipaddress
from typing import Any

from api.settings import PodQuota
from operators.pods.spec import LABEL, MANAGER

ACCOUNT = "airflow"
"""The service account with which Airflow starts an organisation's pods."""
ORGANIZATION = LABEL + "organization"
NETWORK = LABEL + "network"
PRIVATE = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    "::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8",
)  # fmt: skip
"""What no pod reaches: the cluster's own network and the clouds' metadata services among it."""
POD_RULES = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "watch", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"]},
]


def namespace(name: str, organization: str) -> dict[str, Any]:
    """Return the namespace; its labels also have clusters of 1.25 and later refuse any pod that is not hardened."""
    labels = {**MANAGER, ORGANIZATION: organization, "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def objects(name: str, quota: PodQuota, egress: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return everything in the namespace, in the order it is to be made: what limits comes before what lets in."""
    return [
        _quota(name, quota),
        _limits(name, quota),
        _policy(name, "deny-all", {}, ["Ingress", "Egress"], []),
        _policy(name, "egress", {"matchLabels": {NETWORK: "egress"}}, ["Egress"], _egress(egress)),
        _object("v1", "ServiceAccount", name, ACCOUNT, {"automountServiceAccountToken": False}),
        _object("rbac.authorization.k8s.io/v1", "Role", name, ACCOUNT, {"rules": POD_RULES}),
        _object("rbac.authorization.k8s.io/v1", "RoleBinding", name, ACCOUNT, _binding(name)),
    ]


def _object(version: str, kind: str, space: str, name: str, content: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": space, "labels": MANAGER}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def _quota(name: str, quota: PodQuota) -> dict[str, Any]:
    hard = {
        "pods": str(quota.pods),
        "limits.cpu": quota.cpu,
        "limits.memory": quota.memory,
        "limits.ephemeral-storage": quota.ephemeral_storage,
        # Nothing that lasts, and no way in from outside.
        "persistentvolumeclaims": "0",
        "services": "0",
    }
    return _object("v1", "ResourceQuota", name, "agent-factory", {"spec": {"hard": hard}})


def _limits(name: str, quota: PodQuota) -> dict[str, Any]:
    container = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "16Mi"},
        "max": {"cpu": quota.container_cpu, "memory": quota.container_memory},
    }
    return _object("v1", "LimitRange", name, "agent-factory", {"spec": {"limits": [container]}})


def _policy(name: str, policy: str, pods: dict[str, Any], kinds: list[str], egress: list[Any]) -> dict[str, Any]:
    spec = {"podSelector": pods, "policyTypes": kinds} | ({"egress": egress} if egress else {})
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, policy, {"spec": spec})


def _egress(cidrs: tuple[str, ...]) -> list[dict[str, Any]]:
    """Let out to the named addresses without their private parts, and to the cluster's DNS."""
    blocks = [_block(cidr) for cidr in cidrs]
    dns = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
    }
    return [*([{"to": blocks}] if blocks else []), dns]


def _block(cidr: str) -> dict[str, Any]:
    network = ipaddress.ip_network(cidr)
    private = [
        text for text in PRIVATE
        if (other := ipaddress.ip_network(text)).version == network.version and other != network
        and other.subnet_of(network)  # type: ignore[arg-type]  # of the same version
    ]  # fmt: skip
    return {"ipBlock": {"cidr": cidr} | ({"except": private} if private else {})}


def _binding(name: str) -> dict[str, Any]:
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": name}],
    }
