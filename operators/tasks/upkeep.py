"""The Airflow operator of our own upkeep DAGs: it has the control plane do one job and logs the counts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 600.0
"""How long a job may take; it works in small transactions, so that little is lost where it is cut off."""


class UpkeepOperator(BaseOperator):
    """Have the control plane do a job of upkeep; see ``docs/upkeep.md``.

    The work is done where the tables are; Airflow gives the clock, the history and the retries.

    :param job: Name of the job in the control plane.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#eceff1"

    def __init__(self, *, job: str, **kwargs: Any) -> None:
        super().__init__(**{"do_xcom_push": False, **kwargs})
        self.job = job

    def execute(self, context: Context) -> None:
        """Do the job.

        :raises AirflowSkipException: The control plane is not set up for it; it says what to set.
        :raises AirflowException: The control plane is away or could not do it, or a part of it; Airflow tries again.
        """
        import httpx

        from operators.settings import runtime_settings

        settings = runtime_settings()
        url = f"{settings.api_url}/runtime/v1/upkeep/{self.job}"
        headers = {"Authorization": f"Bearer {settings.token}"}
        try:
            # The control plane is ours: no proxy of the environment.
            answer = httpx.post(url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            raise AirflowException(f"the control plane did not answer: {type(error).__name__}") from None
        if answer.status_code == 409:
            raise AirflowSkipException(answer.json()["detail"])
        if answer.status_code != 200:
            raise AirflowException(f"the control plane could not do {self.job!r}: HTTP {answer.status_code}")
        counts = answer.json()["counts"]
        for name, count in counts.items():
            logger.info("%s: %s", name, count)
        if counts.get("failed"):
            raise AirflowException(
                f"the control plane did {self.job!r} in part: {counts['failed']} failed; see its log"
            )
