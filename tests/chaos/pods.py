"""Workflows whose steps run in pods, and a record of when each pod was there."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

from kubernetes import client, watch
from urllib3.exceptions import HTTPError

from tests.chaos.workflows import Case, ask, workflow

LABELS = ("agent-factory/execution", "agent-factory/unit", "agent-factory/slot")
SLOW = "import time\n\n\ndef main(input):\n    time.sleep(1)\n    return {'text': input['text']}\n"


def code(step: str, before: str, following: str) -> dict[str, Any]:
    """Return a step that hands a text on, after a second."""
    config = {"language": "python", "input": {"text": f"{{{{ {before}.output.text }}}}"}}
    return {"id": step, "type": "code", "code": SLOW, "config": config, "next": [following]}


def chain(workflow_id: str, fusion: Literal["auto", "off"]) -> Case:
    """Return a case of two steps of code between two calls of a model."""
    steps = (
        ask("one", following=("first",)),
        code("first", "one", "second"),
        code("second", "first", "last"),
        ask("last", "second"),
    )
    return Case(workflow(workflow_id, *steps, fusion=fusion), {"one": (), "last": ("second",)})


CASES = (chain("chaos_pods_fused", "auto"), chain("chaos_pods_unfused", "off"))


@dataclass
class Life:
    """When a pod was there, in events of the API server; ``end`` is None while it is."""

    place: tuple[str, ...]
    begin: int
    end: int | None = None


class PodWatch(threading.Thread):
    """Notes each pod of a namespace as the API server tells of it."""

    def __init__(self, api: client.CoreV1Api, namespace: str) -> None:
        super().__init__(daemon=True)
        self._api = api
        self._namespace = namespace
        self._over = threading.Event()
        self._watch = watch.Watch()
        self._events = 0
        self.lives: dict[str, Life] = {}

    def run(self) -> None:
        """Follow the events; where the stream ends, go on where it was."""
        version = self._api.list_namespaced_pod(self._namespace).metadata.resource_version
        while not self._over.is_set():
            try:
                stream = self._watch.stream(
                    self._api.list_namespaced_pod, self._namespace, resource_version=version, timeout_seconds=5
                )
                for event in stream:
                    version = event["object"].metadata.resource_version
                    self._note(event["type"], event["object"])
            except HTTPError:
                continue

    def _note(self, kind: str, pod: client.V1Pod) -> None:
        self._events += 1
        uid, labels = pod.metadata.uid, pod.metadata.labels or {}
        life = self.lives.setdefault(uid, Life(tuple(labels.get(name, "") for name in LABELS), self._events))
        if kind == "DELETED":
            life.end = self._events

    def finish(self) -> None:
        """Stop following."""
        self._over.set()
        self._watch.stop()
        self.join()

    def check(self, executions: set[str]) -> None:
        """Check that no place in an execution had two pods at once, and that each execution had a pod.

        :raises AssertionError: One had.
        """
        places: dict[tuple[str, ...], list[Life]] = defaultdict(list)
        for life in self.lives.values():
            places[life.place].append(life)
        for place, lives in places.items():
            in_order = sorted(lives, key=lambda life: life.begin)
            for former, later in itertools.pairwise(in_order):
                assert former.end is not None, f"{place}: a second pod beside the first"
                assert former.end < later.begin, f"{place}: a second pod beside the first"
        assert {place[0] for place in places} == executions
        print(f"chaos: {len(self.lives)} pods in {len(places)} places", flush=True)
