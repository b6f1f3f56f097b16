"""The API server as the pods' makers use it: one namespace, blocking calls, run in threads."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

from operators.pods.failures import PodFailedError
from operators.settings import MOST_RESULT_BYTES

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, V1Pod

TIMEOUT = (5, 30)
"""Seconds to connect, and between two bytes of an answer."""
LISTED = 200
"""Pods of a page."""
CHUNK = 32_768
BYTES_A_SECOND = 1_000_000
"""How slow the API server may hand a result on."""
STDIN, STDOUT, ERROR = 0, 1, 3
ANSWER_LIMIT = MOST_RESULT_BYTES + 2_000_000
RETRIES = (0.2, 0.5, 1.0)


class ClusterError(Exception):
    """The API server is away, or refused a call that it should take. Trying again may help."""


class StreamClosedError(ClusterError):
    """What ``exec`` started has ended, or its container has."""


class Cluster:
    """The pods of one namespace.

    :param api: A client with the rights of the namespace's service account.
    """

    def __init__(self, api: CoreV1Api, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def create(self, pod: V1Pod) -> V1Pod:
        """Start a pod; where one of its name is there, return that.

        :raises PodFailedError: The namespace's quota or limits do not let it run.
        :raises ClusterError: The API server is away.
        """
        try:
            return self._call(self._api.create_namespaced_pod, self.namespace, pod)
        except _RefusedError as refusal:
            if refusal.status == 409:
                found = self.get(pod.metadata.name)
                if found is not None:
                    return found
            if refusal.status == 403 and "exceeded quota" in refusal.message:
                rule = (
                    f"the organisation's quota must have room for the pod; {_after(refusal.message, 'exceeded quota')}"
                )
                raise PodFailedError("unschedulable", rule, retryable=True) from None
            if refusal.status in (400, 403, 422):
                rule = f"the cluster must take the pod; it refused it: {refusal.message[:400]}"
                raise PodFailedError("unschedulable", rule, retryable=False) from None
            raise ClusterError(f"the API server answered HTTP {refusal.status}") from None

    def get(self, name: str) -> V1Pod | None:
        """Return a pod."""
        try:
            return self._call(self._api.read_namespaced_pod, name, self.namespace)
        except _RefusedError as refusal:
            if refusal.status == 404:
                return None
            raise ClusterError(f"the API server answered HTTP {refusal.status}") from None

    def find(self, selector: str) -> list[V1Pod]:
        """Return all pods with such labels, however many pages of the API server's they are."""
        pods: list[V1Pod] = []
        further: dict[str, str] = {}
        while True:
            try:
                found = self._call(
                    self._api.list_namespaced_pod, self.namespace, label_selector=selector, limit=LISTED, **further
                )
            except _RefusedError as refusal:
                raise ClusterError(f"the API server answered HTTP {refusal.status}") from None
            pods += found.items
            further = {"_continue": found.metadata._continue or ""}
            if not further["_continue"]:
                return pods

    def delete(self, name: str) -> None:
        """Delete a pod; harmless where it is gone."""
        try:
            self._call(self._api.delete_namespaced_pod, name, self.namespace)
        except _RefusedError as refusal:
            if refusal.status != 404:
                raise ClusterError(f"the API server answered HTTP {refusal.status}") from None

    def change(self, pod: V1Pod, patch: dict[str, Any]) -> V1Pod | None:
        """Change a pod, unless somebody else has changed it since it was read; None where that is so, or it is gone.

        :param patch: A strategic merge patch.
        """
        metadata = {**patch.get("metadata", {}), "resourceVersion": pod.metadata.resource_version}
        try:
            return self._call(
                self._api.patch_namespaced_pod, pod.metadata.name, self.namespace, {**patch, "metadata": metadata}
            )
        except _RefusedError as refusal:
            if refusal.status in (404, 409):
                return None
            raise ClusterError(f"the API server answered HTTP {refusal.status}") from None

    def delete_unchanged(self, pod: V1Pod) -> bool:
        """Delete a pod, unless somebody else has changed it since it was read; tell whether it goes."""
        from kubernetes.client import V1DeleteOptions, V1Preconditions

        seen = V1Preconditions(uid=pod.metadata.uid, resource_version=pod.metadata.resource_version)
        try:
            self._call(
                self._api.delete_namespaced_pod, pod.metadata.name, self.namespace,
                body=V1DeleteOptions(preconditions=seen),
            )  # fmt: skip
        except _RefusedError as refusal:
            if refusal.status in (404, 409):
                return refusal.status == 404
            raise ClusterError(f"the API server answered HTTP {refusal.status}") from None
        return True

    def annotate(self, name: str, key: str, value: str) -> None:
        """Write an annotation; harmless where the pod is gone."""
        try:
            self._call(
                self._api.patch_namespaced_pod, name, self.namespace, {"metadata": {"annotations": {key: value}}}
            )
        except _RefusedError as refusal:
            if refusal.status != 404:
                raise ClusterError(f"the API server answered HTTP {refusal.status}") from None

    def log_tail(self, name: str, container: str, size: int) -> str:
        """Return the end of what a container printed; "" where there is no log any more."""
        with contextlib.suppress(_RefusedError, ClusterError):
            answer = self._call(
                self._api.read_namespaced_pod_log, name, self.namespace, container=container, tail_lines=100,
                limit_bytes=64 * size, _preload_content=False,
            )  # fmt: skip
            return str(answer.data.decode("utf-8", "replace"))[-size:]
        return ""

    def output(self, name: str, container: str, size: int) -> bytes:
        """Return the first bytes of what a container printed; nothing where there is no log."""
        with contextlib.suppress(_RefusedError, ClusterError):
            answer = self._call(
                self._api.read_namespaced_pod_log, name, self.namespace, container=container, limit_bytes=size,
                _preload_content=False,
            )  # fmt: skip
            return bytes(answer.data[:size])
        return b""

    def open(self, name: str, container: str, command: list[str], *, limit: int = ANSWER_LIMIT) -> Stream:
        """Start a program in a container.

        :param limit: How many bytes of its output wait here at most.
        :raises StreamClosedError: It cannot be started there now.
        """
        from kubernetes.client import ApiClient, ApiException, CoreV1Api
        from kubernetes.stream import stream

        # Of its own: while a stream opens, the client's other calls would go the same way.
        api = CoreV1Api(ApiClient(self._api.api_client.configuration))
        try:
            client = stream(
                api.connect_get_namespaced_pod_exec, name, self.namespace, container=container, command=command,
                stdin=True, stdout=True, stderr=False, tty=False, _preload_content=False, binary=True,
                _request_timeout=30,
            )  # fmt: skip
        except (ApiException, AttributeError, OSError, ValueError) as error:
            # Where there is no container to connect with, the client stumbles over its own exception.
            raise StreamClosedError(f"no program could be started in {container}: {type(error).__name__}") from None
        return Stream(client, limit)

    def _call(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """Make a call; try again where the API server was away.

        :raises ClusterError: It stayed away.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        problem = ""
        for wait in (*RETRIES, None):
            try:
                return function(*arguments, _request_timeout=TIMEOUT, **options)
            except ApiException as error:
                if error.status not in (0, 429, 500, 502, 503, 504):
                    raise _RefusedError(error) from None
                problem = f"HTTP {error.status}"
            except (HTTPError, OSError) as error:
                problem = type(error).__name__
            if wait is not None:
                time.sleep(wait)
        raise ClusterError(f"the API server did not answer: {problem}")


class _RefusedError(Exception):
    """The API server said no."""

    def __init__(self, error: Any) -> None:
        self.status = int(error.status)
        try:
            self.message = str(json.loads(error.body)["message"])
        except (TypeError, ValueError, KeyError):
            self.message = str(error.reason)
        super().__init__(self.message)


def _after(message: str, mark: str) -> str:
    return message[message.find(mark) :][:400]


class Stream:
    """The input and output of a program in a container. One thread at a time."""

    def __init__(self, client: Any, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        """Write to the program.

        :raises StreamClosedError: It is gone.
        """
        try:
            for start in range(0, len(data), CHUNK):
                self._client.write_channel(STDIN, data[start : start + CHUNK])
        except Exception as error:
            raise StreamClosedError(f"the program is gone: {type(error).__name__}") from None

    def read_line(self, seconds: float) -> bytes:
        """Return the next line of the program's output, without its end.

        :raises StreamClosedError: There is none.
        """
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            self._receive(end)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        return line

    def read(self, size: int, seconds: float) -> bytes:
        """Return so many bytes of the program's output.

        :raises StreamClosedError: There are fewer.
        """
        end = time.monotonic() + seconds
        while len(self._buffer) < size:
            self._receive(end)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def ask(self, question: dict[str, Any], payload: bytes = b"", *, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Send the steward a request and return its answer.

        :raises StreamClosedError: There is none.
        """
        self.put(question, payload)
        return self.answer(seconds=seconds)

    def put(self, question: dict[str, Any], payload: bytes = b"") -> None:
        """Send the steward a request; :meth:`answer` has its answer, in the order of the requests.

        :raises StreamClosedError: It is gone.
        """
        self.send(json.dumps({**question, "size": len(payload)}).encode() + b"\n" + payload)

    def answer(self, *, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Return the next answer of the steward.

        :raises StreamClosedError: There is none.
        """
        try:
            answer: dict[str, Any] = json.loads(self.read_line(seconds))
            size = int(answer["size"])
            return answer, self.read(size, 30.0 + size / BYTES_A_SECOND)
        except (ValueError, KeyError, TypeError):
            raise StreamClosedError("the steward answered nonsense") from None

    def close(self) -> None:
        """Leave the program."""
        with contextlib.suppress(Exception):
            self._client.close()

    def _receive(self, end: float) -> None:
        """Take one frame; not by the client's own reader, which overlooks what TLS has decrypted already."""
        from websocket import ABNF, WebSocketException, WebSocketTimeoutException

        left = end - time.monotonic()
        if left <= 0:
            raise StreamClosedError("the program gave no answer in time")
        try:
            self._client.sock.settimeout(max(0.05, left))
            kind, frame = self._client.sock.recv_data_frame(True)
        except (WebSocketTimeoutException, TimeoutError):
            return
        except (WebSocketException, OSError, ssl.SSLError) as error:
            raise StreamClosedError(f"the program is gone: {type(error).__name__}") from None
        if kind == ABNF.OPCODE_CLOSE or (frame.data and frame.data[0] == ERROR):
            raise StreamClosedError("the program has ended")
        if frame.data and frame.data[0] == STDOUT:
            self._buffer += frame.data[1:]
            if len(self._buffer) > self._limit:
                raise StreamClosedError("the program wrote too much")
