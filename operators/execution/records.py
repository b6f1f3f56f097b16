"""What is stored about an execution: the journal's records and the lease.

These models are the wire format of the runtime API (door 3): the control plane answers them and the HTTP store reads
them, so that there is one definition of each.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from compiler.plan import Limits, Network

StepStatus = Literal["pending", "running", "success", "failed", "skipped", "upstream_failed", "cancelled"]
ExecutionStatus = Literal["pending", "running", "success", "failed", "cancelled"]
FinalStatus = Literal["success", "failed", "cancelled"]

Decision = Literal["approve", "reject"]
TimeoutPolicy = Literal["approve", "reject", "fail"]

DECIDED: frozenset[str] = frozenset({"success", "failed", "skipped", "upstream_failed", "cancelled"})


class Record(BaseModel):
    """Base of the wire models; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class StepError(Record):
    """Why a step failed: a stable code and a sentence."""

    code: str
    message: str


class Usage(Record):
    """What one model call used. ``cost_usd`` is None where no price is known, never 0. ``price`` is the snapshot of
    the price that was charged (source, per-million-token rates), so that a bill can be explained later."""

    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    price: dict[str, JsonValue] | None = None


class WebhookAnswer(Record):
    """What a ``respond`` step answers to the waiting webhook caller; the first one of an execution wins."""

    status: int = 200
    headers: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None


class PodTiming(Record):
    """Where the time of a step in a pod went, in milliseconds. What Kubernetes tells has whole seconds only.

    ``queued``: until the pod was asked for; ``scheduled``: until it had a node; ``start``: until our own first
    container had taken what was brought in; ``image``: until the tenant's container ran, for its image is pulled only
    then; ``warm``: until a warm pod was the step's, in place of all these; ``run``: the step's own code; ``result``:
    from its end until we had the result. A step that went into a pod which was running has zeros up to ``warm``.
    """

    queued: float = 0.0
    scheduled: float = 0.0
    image: float = 0.0
    start: float = 0.0
    warm: float = 0.0
    run: float = 0.0
    result: float = 0.0


class StoredOutput(Record):
    """An output that is too large for the journal: what it is, by the sha256 and size of its JSON in bytes."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class StepRecord(Record):
    """The journal's entry of one step. Key: execution, epoch, step.

    Where there is an ``output_ref`` the output is kept elsewhere: in the journal ``output`` is null then.
    Times are UTC. ``attempts`` counts the first try and is 0 for a step that never started. ``usage`` has one entry
    per model call, failed attempts included.
    """

    id: str
    status: StepStatus
    output: JsonValue = None
    error: StepError | None = None
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: float | None = None
    usage: list[Usage] = Field(default_factory=list)
    answer: WebhookAnswer | None = None
    timing: PodTiming | None = None
    output_ref: StoredOutput | None = None


class ExecutionInfo(Record):
    """The ``execution`` name of expressions. ``started_at`` is ISO 8601, UTC: when the trigger was accepted."""

    id: str
    workflow_id: str
    version: int
    started_at: str


class RunStart(Record):
    """How a run of Airflow began: what the control plane needs to adopt one that it did not start.

    :param scheduled: Whether the clock is behind it: a schedule, or a backfill of one.
    :param due_at: The time it was made for; of a run nobody scheduled, when it was to start.
    :param input_id: The prepared input that its ``conf`` names.
    :param dag_id: The DAG it is of.
    """

    scheduled: bool = False
    due_at: datetime
    input_id: Annotated[str, Field(max_length=100)] | None = None
    dag_id: Annotated[str, Field(max_length=250)] | None = None


class LeaseRequest(Record):
    """Asks to run one unit of an execution. The call is addressed to Airflow's run id: the execution's id, or any other
    for a run that was started in Airflow, which the control plane then adopts.

    :param owner: Unique per process try, so that a restarted runner is another owner.
    :param clear_number: Of the DAG run; a higher one than known reopens the execution.
    :param plan_digest: sha256 of the plan the runner holds; the execution is pinned to it at its first lease.
    :param run: How the run of Airflow began; None for a run that is never adopted.
    """

    organization: str
    workflow_id: str
    unit: str
    owner: str
    plan_digest: str
    clear_number: int = 0
    run: RunStart | None = None


class LeaseGrant(Record):
    """A granted lease and everything the runner needs to begin or go on.

    ``token`` fences: a write with an older one is refused. ``halted`` means that the execution failed elsewhere or is
    being cancelled: start nothing, decide what is left, settle. ``cancelled`` means that it is being cancelled: running
    steps are cut off too. ``secret_vars`` names variables that expressions may not read; their values are not
    here. ``steps`` is the journal by step id. ``life`` counts how often the execution was reopened;
    ``since`` is when it was last, and the workflow's time-out counts from there; None stands for its acceptance.
    ``now`` is the store's time, by which the runner judges and writes down times; None stands for the runner's own.
    """

    token: int
    ttl_seconds: float
    heartbeat_seconds: float
    epoch: int
    life: int = 0
    since: datetime | None = None
    now: datetime | None = None
    execution: ExecutionInfo
    input: JsonValue = None
    trigger: JsonValue = None
    vars: dict[str, JsonValue] = Field(default_factory=dict)
    secret_vars: list[str] = Field(default_factory=list)
    steps: dict[str, StepRecord] = Field(default_factory=dict)
    halted: bool = False
    cancelled: bool = False


class ExecutionState(Record):
    """What a runner learns with every write: whether to go on, and who else is at work.

    ``status`` is the execution's; ``halted`` and ``cancelled`` as in :class:`LeaseGrant`; ``active_units`` are the
    *other* units with a live lease. ``steps`` (the whole journal) is filled by ``settle`` and ``load`` only.
    """

    status: ExecutionStatus
    halted: bool = False
    cancelled: bool = False
    active_units: list[str] = Field(default_factory=list)
    steps: dict[str, StepRecord] = Field(default_factory=dict)


class Journaling(Record):
    """Body of a journal write: results of finished steps, and which steps run now (shown to users, no promise).
    A record with status ``running`` is of a step that waits: whoever runs it next learns when it began.
    ``halt`` says that one of the results is a failure nothing handles: from now on every runner of the execution is
    told ``halted``. Failures that the workflow handles do not set it; only the runner knows the edges."""

    unit: str
    token: int
    steps: list[StepRecord] = Field(default_factory=list)
    running: list[str] = Field(default_factory=list)
    halt: bool = False


class News(Record):
    """What a waiting step hears: the execution ended or failed elsewhere (``halted``), or what it waits for is there
    (``done``). Neither: nothing happened for a while; ask again. ``now`` is the store's time."""

    halted: bool = False
    done: bool = False
    now: datetime | None = None


class Settling(Record):
    """Body of a settle call: every step of the unit is decided and journaled."""

    unit: str
    token: int


class Finish(Record):
    """Body of a finish call: the execution's end. ``steps`` are the steps nobody will run any more
    (``upstream_failed`` or ``cancelled``). Same call twice is harmless."""

    unit: str
    token: int
    status: FinalStatus
    output: JsonValue = None
    output_ref: StoredOutput | None = None
    error: StepError | None = None
    steps: list[StepRecord] = Field(default_factory=list)


class ApprovalRequest(Record):
    """Asks people for a decision. Key: execution, epoch, step; the same request twice is one.

    ``timeout_seconds`` counts from when the store first hears of it; ``on_timeout`` is what holds then.
    """

    epoch: int
    title: str
    body: str | None = None
    assignees: list[str] = Field(default_factory=list)
    timeout_seconds: float | None = None
    on_timeout: TimeoutPolicy = "fail"


class ApprovalState(Record):
    """How an approval stands. ``decision`` is None while it is open; ``fail`` means that nobody decided in time.

    ``seconds_left`` is until its time-out, by the store's clock; ``url`` is where a person finds it.
    """

    id: str
    decision: TimeoutPolicy | None = None
    comment: str | None = None
    by: str | None = None
    at: datetime | None = None
    seconds_left: float | None = None
    url: str | None = None


class ApprovalAnswer(Record):
    """A decision somebody made in Airflow; ``by`` is the name Airflow knows them by."""

    decision: Decision
    by: str


class AnswerReceipt(Record):
    """What became of an answer: ``refusal`` is the code of the reason why it does not count, or None."""

    refusal: str | None = None


class ChildRequest(Record):
    """Asks for an execution of another workflow, once for each ``key``: asked again, the same one is answered.

    ``version`` pins one by its number or its label; None stands for the newest. ``detached``: nobody waits for it, so
    it also outlives its parent.
    """

    key: str
    workflow_id: str
    version: str | int | None = None
    input: JsonValue = None
    detached: bool = False


class ChildState(Record):
    """How a child execution stands, or why there is none (``refused``). ``accepted_at`` is when its life began."""

    execution_id: str = ""
    status: ExecutionStatus = "pending"
    output: JsonValue = None
    error: StepError | None = None
    accepted_at: datetime | None = None
    refused: StepError | None = None
    output_ref: StoredOutput | None = None


class Emission(Record):
    """Body of an ``emit_event``: what a step tells the other workflows of its organisation.

    Epoch and step name the event, so that the same call twice emits once.
    """

    epoch: int
    step_id: str
    type: str
    data: JsonValue = None


class EmittedEvent(Record):
    """The answer to an :class:`Emission`; the id is the same for the same execution, epoch and step."""

    event_id: str


class ModelCredential(Record):
    """A key for a model provider. ``api_key`` None means none is configured: the built-in test model answers."""

    provider: str
    api_key: str | None = Field(default=None, repr=False)
    base_url: str | None = None


class Redactions(Record):
    """What must not be read in what containers of an execution print. For the process that masks it only."""

    values: list[str] = Field(default_factory=list, repr=False)


class WarmPods(Record):
    """Pods of one kind that an organisation keeps started, for Python steps with this image, network and limits.

    :param size: How many wait at a time.
    """

    image: str
    network: Network
    limits: Limits
    size: int


class PodSettings(Record):
    """How pods of an execution are made: the deployment's settings and, in ``warm``, the organisation's.

    :param namespace: The organisation's.
    :param runner_image: Of the trusted containers; it needs ``python3``.
    :param runtime_class: Of the pods (gVisor, Kata); None: the cluster's default.
    :param images: Patterns of the images that the organisation may run; None: any.
    :param digests: Whether an image must be named by its digest.
    :param pull_secrets: Names of secrets in the namespace.
    :param always_pull: Whether the registry is asked for a tenant's image at each start, though the node has it.
    :param start_seconds: How long a pod may take until it runs.
    :param hold_seconds: How long a worker waits for a pod before it gives itself back.
    :param warm: Kinds of pods that are kept started.
    """

    namespace: str
    runner_image: str
    runtime_class: str | None = None
    images: list[str] | None = None
    digests: bool = False
    pull_secrets: list[str] = Field(default_factory=list)
    always_pull: bool = False
    start_seconds: float = 300.0
    hold_seconds: float = 10.0
    warm: list[WarmPods] = Field(default_factory=list)


def step_view(record: StepRecord) -> dict[str, Any]:
    """Return what the CLI's ``run`` and ``executions show`` print of a step."""
    return {
        "status": record.status,
        "output": record.output,
        "error": record.error.model_dump() if record.error else None,
        "attempts": record.attempts,
        "duration_ms": record.duration_ms,
    }
