"""The Airflow operator of an ``approval`` step: people may answer in the control plane and in Airflow's own UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operators.tasks.segment import SegmentOperator
from operators.tasks.triggers import ApprovalTrigger

if TYPE_CHECKING:
    from uuid import UUID

    from airflow.sdk import Context
    from airflow.sdk.exceptions import AirflowException

    from operators.execution.http import HttpStore
    from operators.execution.records import Decision
    from operators.execution.runner import UnitOutcome
    from operators.steps.base import Wake

OPTIONS: dict[str, Decision] = {"Approve": "approve", "Reject": "reject"}
"""What Airflow shows -> what it means."""


class ApprovalOperator(SegmentOperator):
    """Run the unit of an ``approval`` step: deferred, with a required action in Airflow's UI.

    Airflow knows a fixed subject, a link and two options; question, comment and assignees are the control plane's. It
    also judges what is answered in Airflow: an answer that does not count opens the required action again. What it
    does not do: keep an answer of Airflow's over a worker that is lost while it hands it in; then it is asked anew.
    """

    ui_color = "#e6f4ea"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._task_instance_id: UUID | None = None
        self._answer: tuple[str, Decision, str] | None = None

    def resume(self, context: Context, event: object = None, execution_id: str = "") -> None:
        """Look again, after the trigger has fired or somebody has answered in Airflow.

        :param event: The answer, if there is one. Airflow keeps it for this start only: what a cleared task left is no
            answer to what is asked then.
        :param execution_id: The execution's own id, which is not always that of Airflow's run.
        """
        answer = _answer(event)
        if answer is not None:
            self._answer = execution_id, *answer
        super().resume(context, event)

    def _guarded(self, context: Context) -> UnitOutcome | AirflowException:
        self._task_instance_id = _task_instance_id(context)
        return super()._guarded(context)

    async def _prepare(self, store: HttpStore) -> None:
        """Hand in what was answered in Airflow, before the unit looks how the approval stands."""
        from operators.execution.clock import Clock
        from operators.execution.patience import patiently
        from operators.execution.records import ApprovalAnswer

        if self._answer is None:
            return
        execution_id, decision, by = self._answer
        answer = ApprovalAnswer(decision=decision, by=by[:200])
        receipt = await patiently(lambda: store.answer_approval(execution_id, self.task_id, answer), Clock())
        if receipt.refusal is not None:
            self.log.warning("the answer given in Airflow does not count: %s", receipt.refusal)

    def _park(self, execution_id: str, wake: Wake) -> None:
        """Open the required action, or open it again, and give the worker back."""
        from airflow.sdk.execution_time.hitl import upsert_hitl_detail

        assert self._task_instance_id is not None, "it was set when the task began"
        upsert_hitl_detail(
            ti_id=self._task_instance_id,
            options=list(OPTIONS),
            subject=f"Approval of step {self.task_id}",
            body=wake.link,
            # Not left out: the default is null, which Airflow's API refuses.
            params={},
        )
        until = None if wake.until is None else wake.until.timestamp()
        trigger = ApprovalTrigger(execution_id, wake.awaited, until, str(self._task_instance_id))
        self.defer(trigger=trigger, method_name="resume", kwargs={"execution_id": execution_id})


def _task_instance_id(context: Context) -> UUID:
    return context["ti"].id


def _answer(event: object) -> tuple[Decision, str] | None:
    """Return what somebody chose in Airflow, and the user's name."""
    if not isinstance(event, dict):
        return None
    chosen, user = event.get("chosen_options"), event.get("responded_by_user")
    if not isinstance(chosen, list) or len(chosen) != 1 or chosen[0] not in OPTIONS or not isinstance(user, dict):
        return None
    return OPTIONS[chosen[0]], str(user.get("name"))
