"""Airflow's public REST API, as much of it as we call."""

from __future__ import annotations

import asyncio
import itertools
import logging
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from api.settings import Settings
from operators.tls import own_context

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(30.0, connect=3.0)
AWAY_AS_A_WHOLE = (429, 502, 503, 504)
PAGE = 100
SENTINEL_DAG = "agent_factory__release"
"""Always in our bundle, so that there is a file to name before the first publish is parsed."""


class AirflowAwayError(Exception):
    """Airflow cannot be reached, or is not well. Trying again later may help.

    :param as_a_whole: Whether any other request would fail as well; HTTP 500 may be about this one only.
    :param retry_after: Seconds that Airflow, or what stands before it, asks to be left alone for.
    """

    def __init__(self, message: str, *, as_a_whole: bool = True, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.as_a_whole = as_a_whole
        self.retry_after = retry_after


class AirflowRefusedError(Exception):
    """Airflow refused a request. Trying again seldom helps; the message has the status only, for bodies may echo."""


class AirflowClient:
    """A client with one token and kept-alive connections.

    :param transport: Replaces the network in tests.
    """

    def __init__(self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings = settings
        # Proxies of the environment are for the outside world; Airflow is ours.
        self._client = httpx.AsyncClient(
            base_url=settings.airflow_url,
            timeout=TIMEOUT,
            transport=transport,
            trust_env=False,
            verify=own_context(),
        )
        self._token: str | None = None
        self._login = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def dag_tags(self, dag_id: str) -> set[str] | None:
        """Return the tags of a DAG that Airflow can run now; None where it knows none, or lost its file.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        dag = await self._dag(dag_id)
        if dag is None or dag.get("is_stale"):
            return None
        return {str(tag.get("name")) for tag in dag.get("tags", [])}

    async def start_run(self, dag_id: str, execution_id: str) -> bool:
        """Start a run of this id; the same call twice makes one run. False where Airflow does not know the DAG.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        body = {"dag_run_id": execution_id, "logical_date": None, "conf": {"execution_id": execution_id}}
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns"
        response = await self._request("POST", path, json=body)
        if response.status_code == 409:
            # 409 does not say which key clashed: only a run of this id means that it was started before.
            response = await self._request("GET", f"{path}/{quote(execution_id)}")
            if response.status_code == 404:
                raise AirflowRefusedError("Airflow answered HTTP 409 and has no such run")
        if response.status_code == 404:
            return False
        self._check(response)
        return True

    async def stop_run(self, dag_id: str, execution_id: str, state: str = "failed") -> None:
        """End a run now: what runs is killed, nothing more starts. One that is over or unknown stays as it is.

        :param state: What it is to end as, ``failed`` or ``success``.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(execution_id, safe='')}"
        response = await self._request("GET", path)
        if response.is_success and response.json().get("state") not in ("success", "failed"):
            response = await self._request("PATCH", path, json={"state": state})
        if response.status_code != 404:
            self._check(response)

    async def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run; None where Airflow has no such run.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        run = await self.read(f"dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}")
        return None if run is None else str(run.get("state"))

    async def clear_run(self, dag_id: str, run_id: str) -> None:
        """Have every task of a run run again, on the version that the run has: its graph and its plan stay a pair.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses, or has no such run.
        """
        body = {"dry_run": False, "only_failed": False, "run_on_latest_version": False}
        path = f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}/clear"
        self._check(await self._request("POST", path, json=body))

    async def delete_dag(self, dag_id: str) -> None:
        """Have Airflow forget a DAG with its runs; one that it does not know is forgotten already.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses, as while a task of it runs.
        """
        response = await self._request("DELETE", f"/api/v2/dags/{quote(dag_id)}")
        if response.status_code != 404:
            self._check(response)

    async def read(self, path: str, **params: Any) -> Any:
        """Return what there is at a path of Airflow's API; None where Airflow knows no such thing.

        :raises AirflowAwayError: Airflow does not answer, or something else answers in its place.
        :raises AirflowRefusedError: It refuses.
        """
        response = await self._request("GET", f"/api/v2/{path}", params=params)
        is_json = response.headers.get("content-type", "").startswith("application/json")
        if response.status_code == 404 and is_json:
            return None
        if response.status_code != 404:
            self._check(response)
        if not is_json:
            # A proxy's page must not pass for Airflow's word that a run is gone.
            raise AirflowAwayError(f"no JSON came with HTTP {response.status_code}")
        return response.json()

    async def push(self, dag_id: str = SENTINEL_DAG) -> None:
        """Ask Airflow to look for the newest release now. Best effort: it polls too.

        Airflow looks at the bundle anew for any file that is named; ours lie in archives, which it does not parse for
        that. So a publish names the sentinel, which is always there. Who asks again, because a DAG does not come, has
        the bundle's latest changes parsed once more.
        """
        try:
            dag = await self._dag(dag_id) or await self._dag(SENTINEL_DAG)
            if dag is None:
                log.info("Airflow has not loaded the bundle yet; it will find the release by itself")
                return
            token = quote(str(dag["file_token"]), safe="")
            response = await self._request("PUT", f"/api/v2/parseDagFile/{token}")
            if response.status_code != 409:  # 409: it was asked already
                self._check(response)
        except (AirflowAwayError, AirflowRefusedError) as error:
            log.warning("could not tell Airflow of a release: %s", error)

    async def dags_at_work(self, since_before: datetime) -> set[str]:
        """Return the DAGs with a run that began before a moment and has not ended.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        dags: set[str] = set()
        query = {"state": "running", "start_date_lt": since_before.isoformat(), "limit": PAGE, "order_by": "id"}
        for page in itertools.count():
            path = "/api/v2/dags/~/dagRuns"
            response = await self._request("GET", path, params=query | {"offset": page * PAGE})
            self._check(response)
            runs = response.json()["dag_runs"]
            dags |= {str(run["dag_id"]) for run in runs}
            if len(runs) < PAGE:
                break
        return dags

    async def has_runs(self, since_before: datetime, dag_ids: tuple[str, ...] = ()) -> bool:
        """Tell whether Airflow has runs that began before a moment, of some DAGs or of any.

        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        query: dict[str, Any] = {"start_date_lt": since_before.isoformat(), "limit": 1}
        for dag_id in dag_ids or ("~",):
            response = await self._request("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns", params=query)
            if response.status_code == 404 and dag_ids:
                continue
            self._check(response)
            if response.json()["dag_runs"]:
                return True
        return False

    async def _dag(self, dag_id: str) -> dict[str, Any] | None:
        response = await self._request("GET", f"/api/v2/dags/{quote(dag_id)}")
        if response.status_code == 404:
            return None
        self._check(response)
        dag = response.json()
        return dag if isinstance(dag, dict) else None

    def _check(self, response: httpx.Response) -> None:
        if response.status_code >= 500 or response.status_code in (408, 429):
            raise AirflowAwayError(
                f"Airflow answered HTTP {response.status_code}",
                as_a_whole=response.status_code in AWAY_AS_A_WHOLE,
                retry_after=_seconds(response.headers.get("retry-after", "")),
            )
        if response.status_code == 401:
            # After a new sign-in, or of the sign-in itself: no request's fault, and none would fare better.
            raise AirflowAwayError("Airflow does not accept the control plane's user and password (HTTP 401)")
        if not response.is_success:
            raise AirflowRefusedError(f"Airflow answered HTTP {response.status_code}")

    async def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request with a token; with a new one, once, where the token has run out."""
        token = self._token or await self._renew(None)
        response = await self._send(method, path, headers={"authorization": f"Bearer {token}"}, **arguments)
        if response.status_code == 401:
            token = await self._renew(token)
            response = await self._send(method, path, headers={"authorization": f"Bearer {token}"}, **arguments)
        return response

    async def _renew(self, refused: str | None) -> str:
        """Log in, once for all who wait."""
        async with self._login:
            if self._token is not None and self._token != refused:
                return self._token
            credentials = {
                "username": self._settings.airflow_username,
                "password": self._settings.airflow_password.get_secret_value(),
            }
            response = await self._send("POST", "/auth/token", json=credentials)
            self._check(response)
            self._token = token = str(response.json()["access_token"])
            return token

    async def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise AirflowAwayError(f"Airflow cannot be reached: {type(error).__name__}") from None


def _seconds(retry_after: str) -> float:
    """Return the seconds of a ``Retry-After``; 0 for a date or none."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
