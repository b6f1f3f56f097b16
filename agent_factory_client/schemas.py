"""What the control plane takes and gives. Written by `make schema` from its OpenAPI document: do not edit."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict


class AccessToken(TypedDict):
    """
    An access token and how many seconds it lasts.
    """

    access_token: str
    token_type: NotRequired[Literal["Bearer"]]
    expires_in: int
    organization: str
    role: Literal["admin", "organization_owner", "team_lead", "developer", "viewer"]


class AdoptedRunView(TypedDict):
    """
    Which execution belongs to a run.
    """

    execution_id: str
    url: str


class AgentChange(TypedDict):
    """
    What becomes of an agent of the archive. ``differs`` are the parts that are other ones here.
    """

    workflow_id: str
    change: Literal["create", "replace", "keep", "same", "conflict", "needs_value"]
    differs: list[Literal["name", "description", "workflow", "canvas"]]


class AgentCreate(TypedDict, closed=True):
    """
    A new agent. ``workflow_id`` is that of ``workflow`` where it has one; else it is made of the name.
    """

    name: str
    description: NotRequired[str | None]
    workflow_id: NotRequired[str | None]
    workflow: NotRequired[dict[str, Any] | None]
    canvas: NotRequired[dict[str, Any] | None]


class AgentUpdate(TypedDict, closed=True):
    """
    Changes of an agent: only the fields that are sent.
    """

    name: NotRequired[str]
    description: NotRequired[str | None]


Permission: TypeAlias = str


class ApiKeyCreate(TypedDict, closed=True):
    """
    A new key. ``permissions`` may name only what the maker may; ``expires_at`` null is a key without an end.
    """

    name: str
    permissions: list[Permission]
    expires_at: str | None


class ApiKeyMade(TypedDict):
    """
    A new key with its secret, which is shown this once.
    """

    id: str
    name: str
    prefix: str
    permissions: list[str]
    made_by: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    key: str


class ApiKeyView(TypedDict):
    """
    A key, without its secret. ``made_by`` is null for the operator; ``last_used_at`` is exact to a minute.
    """

    id: str
    name: str
    prefix: str
    permissions: list[str]
    made_by: str | None
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class ApprovalView(TypedDict):
    """
    An approval. ``status`` is ``withdrawn`` where nobody waits for a decision any more.

    ``decision`` is ``fail`` where nobody decided in time and the step failed for it; then and wherever the time-out
    decided, ``via`` is ``timeout``.
    """

    id: str
    execution_id: str
    workflow_id: str
    step_id: str
    status: Literal["pending", "decided", "withdrawn"]
    title: str
    body: str | None
    assignees: list[str]
    created_at: str
    due_at: str | None
    on_timeout: Literal["approve", "reject", "fail"]
    decision: Literal["approve", "reject", "fail"] | None
    comment: str | None
    by: str | None
    decided_at: str | None
    via: Literal["api", "cli", "airflow", "timeout"] | None
    url: str


class AuditEntryView(TypedDict):
    """
    A change. ``before`` and ``after`` are sha256 digests of the canonical JSON of what was there, where the
    action tells of it; equal ones mean that nothing changed.
    """

    id: str
    at: str
    actor: Literal["user", "api_key", "operator"]
    user_id: str | None
    api_key_id: str | None
    action: str
    resource: str
    before: str | None
    after: str | None
    address: str | None
    request_id: str | None


class AuditList(TypedDict):
    """
    A page of entries, the newest first.
    """

    entries: list[AuditEntryView]
    next: str | None


class CallView(TypedDict):
    """
    A model call: about how many tokens the prompt's fixed text has, the longest answer, and their list price.
    """

    step_id: str
    model: str
    prompt_tokens: int
    max_tokens: int | Literal["unknown"]
    attempts: int
    usd: float | Literal["unknown"]
    reason: str | None


class CoveredCall(TypedDict):
    """
    A call of another workflow, by the workflow that is reviewed (``caller`` null) or by one that it calls.

    ``reference`` is the number or label that the call pins, null for whatever is current. ``number`` and ``digest``
    are of the version that this means; null where there is none.
    """

    caller: str | None
    workflow_id: str
    reference: int | str | None
    number: int | None
    digest: str | None


class CoveredVariable(TypedDict):
    """
    A variable that the workflow or one it calls reads; ``sha256`` is of its JSON, null where it is secret.
    """

    name: str
    environment: str
    sha256: str | None


class DagFile(TypedDict):
    """
    The file that Airflow would load.
    """

    name: str
    text: str


class DeadLetterView(TypedDict):
    """
    An order to Airflow that the relay gave up: to ``start`` the execution's run, or to ``stop`` it.

    ``waiting_since`` is when the order was given, ``dead_since`` when it was given up, after so many ``attempts``.
    """

    id: int
    execution_id: str
    workflow_id: str
    kind: str
    attempts: int
    error: str | None
    waiting_since: str
    dead_since: str | None


class DecisionCreate(TypedDict, closed=True):
    """
    Decides an approval. ``by`` is who decides: one of the assignees, where there are any.

    Without it the caller's address, or "api" for the operator and the keys that the operator made.
    """

    decision: Literal["approve", "reject"]
    comment: NotRequired[str | None]
    by: NotRequired[str | None]
    via: NotRequired[Literal["api", "cli"]]


class DeletionCreate(TypedDict, closed=True):
    """
    An order to delete the organisation that the caller acts for; ``confirm`` repeats its slug.
    """

    confirm: str


class DeletionView(TypedDict):
    """
    When the organisation is deleted. Until then an owner can call it off.
    """

    organization: str
    due_at: str


class DeliveryView(TypedDict):
    """
    A message to an address, or one of kind ``broker`` to RabbitMQ, whose ``url`` says no more than that.

    A callback ``waits`` for the end of its execution. ``attempts`` counts those since it was last delivered again;
    ``next_attempt_at`` is of a pending one. ``response_status`` and ``error`` are of the last attempt.
    """

    id: str
    kind: Literal["callback", "event", "broker"]
    event_type: str
    url: str
    status: Literal["waiting", "pending", "delivered", "dead"]
    attempts: int
    execution_id: str | None
    subscription_id: str | None
    response_status: int | None
    error: str | None
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None


class DraftState(TypedDict):
    """
    How a draft stands. ``changed``: it differs from the newest version, or there is none.
    """

    etag: str
    changed: bool
    updated_at: str | None
    updated_by: str | None


class DraftUpdate(TypedDict, closed=True):
    """
    A draft, whole: what is left out is gone. ``workflow`` is kept as it is sent and need not be complete.
    """

    workflow: dict[str, Any]
    canvas: NotRequired[dict[str, Any] | None]


class DraftView(TypedDict):
    """
    A draft. ``workflow`` is as it was sent, to the byte.
    """

    agent_id: str
    workflow: dict[str, Any]
    canvas: dict[str, Any] | None
    updated_at: str | None
    updated_by: str | None


EdgeView = TypedDict(
    "EdgeView",
    {
        "from": str,
        "to": str,
        "kind": str,
    },
)


class Edges(TypedDict):
    """
    Edges that only one of the two has.
    """

    added: list[EdgeView]
    removed: list[EdgeView]


class ExecutionAccepted(TypedDict):
    """
    An execution that was stored and will run.

    ``existing`` tells that nothing new was started: the limit is reached, and the workflow's ``conflict`` is
    ``use_existing``.
    """

    execution_id: str
    status: Literal["pending", "running", "success", "failed", "cancelled"]
    workflow_id: str
    version: int
    url: str
    existing: NotRequired[bool]


class ExecutionCancelled(TypedDict):
    """
    An execution that is to be cancelled. Its ``status`` is final already, or becomes so within seconds.
    """

    execution_id: str
    status: Literal["pending", "running", "success", "failed", "cancelled"]


class ExecutionRestarted(TypedDict):
    """
    An ended execution that runs again: ``pending`` until its first step starts.
    """

    execution_id: str
    status: Literal["pending", "running", "success", "failed", "cancelled"]
    epoch: int
    url: str


class ExecutionSummary(TypedDict):
    """
    An execution in a list. ``trigger`` is the kind of what started it; ``duration_ms`` as of an execution.
    """

    execution_id: str
    workflow_id: str
    version: int
    status: Literal["pending", "running", "success", "failed", "cancelled"]
    epoch: int
    environment: str
    trigger: str
    error_code: str | None
    parent_execution_id: str | None
    accepted_at: str
    started_at: str | None
    completed_at: str | None
    duration_ms: float | None
    url: str


class FieldChange(TypedDict):
    """
    A changed field: its JSON pointer inside of the task, trigger or workflow, and what stood and stands there.

    ``before`` is missing of what was added, ``after`` of what was removed.
    """

    path: str
    op: str
    before: NotRequired[Any]
    after: NotRequired[Any]


class FlowCreate(TypedDict, closed=True):
    """
    Where the provider sends people back to: a page of the web client, or the command line on this machine.
    """

    back_to: NotRequired[Literal["web", "cli"]]


class FlowFinish(TypedDict, closed=True):
    """
    What the provider sent back, with the token of the beginning. ``iss`` where the answer had it.
    """

    login_token: str
    code: str
    state: str
    iss: NotRequired[str | None]
    organization: NotRequired[str | None]


class FlowView(TypedDict):
    """
    Where to go to log in. ``login_token`` stays with who began: it ends the login.
    """

    authorization_url: str
    redirect_uri: str
    login_token: str
    expires_in: int


class ForgottenPassword(TypedDict, closed=True):
    """
    Whose password is to be set anew.
    """

    email: str


class InputPrepared(TypedDict):
    """
    A stored input: ``input_id`` is what a run's ``conf`` in Airflow names.
    """

    input_id: str


class InvitationAccept(TypedDict, closed=True):
    """
    The acceptance of an invitation. Who has an account gives its password; else it becomes that of a new one.
    """

    token: str
    name: str
    password: str


class InvitationCreate(TypedDict, closed=True):
    """
    Whom to invite, in which role.
    """

    email: str
    role: Literal["organization_owner", "team_lead", "developer", "viewer"]


class InvitationView(TypedDict):
    """
    An invitation. ``sent`` tells whether a mail went out; if not, the operator prints the link.
    """

    id: str
    email: str
    role: Literal["organization_owner", "team_lead", "developer", "viewer"]
    status: Literal["open", "accepted", "revoked", "expired"]
    sent: bool
    invited_by: str | None
    created_at: str
    expires_at: str


class ItemView(TypedDict):
    """
    One item of a map, by its place in ``over``, that has begun. ``cancelled`` is one that came to no end of its own:
    cut off, or the map failed meanwhile.
    """

    index: int
    status: Literal["running", "success", "failed", "cancelled"]


JsonValue: TypeAlias = Any


class LoginCreate(TypedDict, closed=True):
    """
    A login. Without ``organization`` the one that the user joined first.
    """

    email: str
    password: str
    organization: NotRequired[str | None]


class MemberChange(TypedDict, closed=True):
    """
    A new role.
    """

    role: Literal["organization_owner", "team_lead", "developer", "viewer"]


class MemberView(TypedDict):
    """
    A member.
    """

    user_id: str
    email: str
    name: str
    role: Literal["organization_owner", "team_lead", "developer", "viewer"]
    joined_at: str


class Named(TypedDict):
    """
    A task or trigger that only one of the two has.
    """

    id: str
    type: str | None


class OrganizationChange(TypedDict, closed=True):
    """
    A new name.
    """

    name: str


class OrganizationCreate(TypedDict, closed=True):
    """
    A new organisation; the slug stays for ever, since DAGs and addresses are named after it.
    """

    slug: str
    name: str


class OrganizationRole(TypedDict):
    """
    An organisation and the role in it.
    """

    slug: str
    name: str
    role: Literal["admin", "organization_owner", "team_lead", "developer", "viewer"]


class OrganizationView(TypedDict):
    """
    An organisation and the caller's role in it.
    """

    id: str
    slug: str
    name: str
    role: Literal["admin", "organization_owner", "team_lead", "developer", "viewer"]


class OutputReference(TypedDict):
    """
    An output of more than 1 MB, which is not shown here: get it from ``url``. ``size`` is in bytes of JSON.
    """

    sha256: str
    size: int
    url: str


class PasswordChange(TypedDict, closed=True):
    """
    A new password in place of the current one.
    """

    current_password: str
    new_password: str


class PasswordReset(TypedDict, closed=True):
    """
    A new password by the token of a link.
    """

    token: str
    new_password: str


class PathView(TypedDict):
    """
    What one set of decisions leads to, if nothing fails and nothing is tried twice.
    """

    decisions: dict[str, str | None]
    model_calls: int | Literal["unknown"]
    usd: float | Literal["unknown"]
    reason: str | None


class PausedWorkflow(TypedDict):
    """
    A workflow whose executions wait.
    """

    workflow_id: str
    paused_at: str


class PodTiming(TypedDict, closed=True):
    """
    Where the time of a step in a pod went, in milliseconds. What Kubernetes tells has whole seconds only.

    ``queued``: until the pod was asked for; ``scheduled``: until it had a node; ``start``: until our own first
    container had taken what was brought in; ``image``: until the tenant's container ran, for its image is pulled only
    then; ``warm``: until a warm pod was the step's, in place of all these; ``run``: the step's own code; ``result``:
    from its end until we had the result. A step that went into a pod which was running has zeros up to ``warm``.
    """

    queued: NotRequired[float]
    scheduled: NotRequired[float]
    image: NotRequired[float]
    start: NotRequired[float]
    warm: NotRequired[float]
    run: NotRequired[float]
    result: NotRequired[float]


class ProviderList(TypedDict):
    """
    The names of the providers.
    """

    providers: list[str]


class Published(TypedDict):
    """
    The answer to a publish.

    ``digest`` is the plan's sha256; ``release`` is what Airflow loads; ``webhooks`` are URLs; ``diagnostics`` are the
    compiler's warnings.
    """

    workflow_id: str
    version: int
    digest: str
    release: str
    dag_id: str
    webhooks: list[str]
    diagnostics: list[dict[str, Any]]


class Redelivered(TypedDict):
    """
    How many dead letters live again, and how many are still dead because their executions may not start any more.
    """

    redelivered: int
    refused: int


class RedeliveryCreate(TypedDict, closed=True):
    """
    Asks for all dead letters to be delivered again, or for those of one workflow.
    """

    workflow_id: NotRequired[str | None]


class RefreshCreate(TypedDict, closed=True):
    """
    A refresh.
    """

    refresh_token: str


class RelayState(TypedDict):
    """
    How an organisation's relay stands.

    ``paused_at`` is null where the organisation is not paused; ``waiting`` counts the executions that Airflow has not
    been told of, ``dead_letters`` the orders that were given up.
    """

    paused_at: str | None
    paused_workflows: list[PausedWorkflow]
    waiting: int
    dead_letters: int


class ResourceLimits(TypedDict, closed=True):
    """
    What tenant code may use, in Kubernetes quantities.
    """

    cpu: NotRequired[str | None]
    memory: NotRequired[str | None]
    ephemeral_storage: NotRequired[str | None]


class RetentionChange(TypedDict, closed=True):
    """
    How long things are kept, in days; null stands for as long as the platform keeps them.
    """

    executions: int | None
    audit_log: int | None


class RetentionView(TypedDict):
    """
    ``executions``: with their steps, after their end; ``audit_log``: entries. ``longest_...`` is the platform's.
    """

    executions: int
    longest_executions: int
    audit_log: int
    longest_audit_log: int


class ReviewDecision(TypedDict, closed=True):
    """
    Decides a review. ``fingerprint`` is that of the review: it names exactly what was looked at.
    """

    decision: Literal["approve", "reject"]
    fingerprint: str
    comment: NotRequired[str | None]


class ReviewPolicySet(TypedDict, closed=True):
    """
    Says whether the organisation publishes only what was approved.
    """

    required: bool


class ReviewPolicyView(TypedDict):
    """
    The rule, and who set it; null where nobody ever did.
    """

    required: bool
    changed_at: str | None
    changed_by: str | None


class ReviewRequest(TypedDict, closed=True):
    """
    Asks for a review of the draft as it is now, or of an older version that is to be published again.
    """

    version: NotRequired[int | None]
    note: NotRequired[str | None]


class ReviewView(TypedDict):
    """
    A review. ``digest`` is the plan's; ``fingerprint`` names that and everything it depends on.

    ``version`` is null of a draft. ``authors`` changed the draft since it was last published; they are users' ids, or
    ``operator``.
    """

    id: str
    agent_id: str
    workflow_id: str
    version: int | None
    digest: str
    fingerprint: str
    status: Literal["open", "approved", "rejected"]
    authors: list[str]
    note: str | None
    requested_at: str
    requested_by: str
    decided_at: str | None
    decided_by: str | None
    comment: str | None


class SessionView(TypedDict):
    """
    A login; ``current`` marks the one that asks.
    """

    id: str
    organization: str
    client: str
    created_at: str
    used_at: str
    expires_at: str
    current: bool


class StepError(TypedDict, closed=True):
    """
    Why a step failed: a stable code and a sentence.
    """

    code: str
    message: str


class StepFacts(TypedDict):
    """
    A step of one side.
    """

    type: str
    status: Literal["pending", "running", "success", "failed", "skipped", "upstream_failed", "cancelled"]
    attempts: int
    duration_ms: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    error_code: str | None


class StepInput(TypedDict):
    """
    What a step was given: its config with the expressions evaluated. It is not stored but ``derived``, anew for each
    look, from what the journal holds. ``left_out`` names parts that cannot be evaluated any more or are too large.
    """

    derived: NotRequired[Literal[True]]
    config: dict[str, JsonValue]
    left_out: list[str]


SubscribedEvent: TypeAlias = Literal["agent.created", "agent.published", "execution.started", "execution.finished"]


class SubscriptionCreate(TypedDict, closed=True):
    """
    Asks for events to be sent to an address; without ``event_types``, or with none, all of them.
    """

    url: str
    event_types: NotRequired[list[SubscribedEvent]]


class SubscriptionCreated(TypedDict):
    """
    A new subscription with its signing secret, which is never shown again.
    """

    id: str
    url: str
    event_types: list[str]
    paused: bool
    created_at: str
    secret: str


class SubscriptionView(TypedDict):
    """
    A subscription; while it is ``paused`` its messages wait.
    """

    id: str
    url: str
    event_types: list[str]
    paused: bool
    created_at: str


class SwitchCreate(TypedDict, closed=True):
    """
    A change of the organisation.
    """

    organization: str


class TeamCreate(TypedDict, closed=True):
    """
    A new team.
    """

    name: str


class TeamView(TypedDict):
    """
    A team and the ids of the users in it.
    """

    id: str
    name: str
    user_ids: list[str]


class TemplateChange(TypedDict):
    """
    What becomes of a template of the archive. ``differs`` are the parts that are other ones here.
    """

    name: str
    change: Literal["create", "replace", "keep", "same", "conflict", "needs_value"]
    differs: list[Literal["description", "category", "tags", "input_example", "workflow", "canvas"]]


Tag: TypeAlias = str


class TemplateCreate(TypedDict, closed=True):
    """
    A new template, made from a ``workflow``, or from an agent: from its draft, or from its published ``version``.
    """

    name: str
    description: NotRequired[str | None]
    category: NotRequired[str | None]
    tags: NotRequired[list[Tag]]
    input_example: NotRequired[JsonValue]
    workflow: NotRequired[dict[str, Any] | None]
    canvas: NotRequired[dict[str, Any] | None]
    agent_id: NotRequired[str | None]
    version: NotRequired[int | None]


class TemplateDetail(TypedDict):
    """
    A template with its workflow as it was sent, to the byte.
    """

    id: str
    source: Literal["own", "public"]
    name: str
    description: str | None
    category: str | None
    tags: list[str]
    etag: str
    created_at: str | None
    created_by: str | None
    updated_at: str | None
    updated_by: str | None
    workflow: dict[str, Any]
    canvas: dict[str, Any] | None
    input_example: JsonValue


class TemplateUpdate(TypedDict, closed=True):
    """
    Changes of a template: only the fields that are sent.
    """

    name: NotRequired[str]
    description: NotRequired[str | None]
    category: NotRequired[str | None]
    tags: NotRequired[list[Tag]]
    input_example: NotRequired[JsonValue]
    workflow: NotRequired[dict[str, Any]]
    canvas: NotRequired[dict[str, Any] | None]


class TemplateUse(TypedDict, closed=True):
    """
    A new agent from a template. Without ``workflow_id`` its workflow's id is made of the name.

    Without ``description`` it has the template's.
    """

    name: str
    description: NotRequired[str | None]
    workflow_id: NotRequired[str | None]


class TemplateView(TypedDict):
    """
    A template. ``id`` is a word of public ones, which come with the product and stay as they are.
    """

    id: str
    source: Literal["own", "public"]
    name: str
    description: str | None
    category: str | None
    tags: list[str]
    etag: str
    created_at: str | None
    created_by: str | None
    updated_at: str | None
    updated_by: str | None


class TokenAnswer(TypedDict):
    """
    Tokens after a login or a refresh. The refresh token can be used once, for the next pair.
    """

    access_token: str
    token_type: NotRequired[Literal["Bearer"]]
    expires_in: int
    organization: str
    role: Literal["admin", "organization_owner", "team_lead", "developer", "viewer"]
    refresh_token: str


class TrialCreate(TypedDict, closed=True):
    """
    A test of a draft.

    :param input: The execution's input.
    :param vars: Values of variables, in the place of the organisation's.
    :param pins: Outputs of steps that are not to run: by the task's id, and for a workflow that is called by
        ``<workflow>.<task>``.
    :param step: The one step to run, with ``pins`` for those that it reads; without it the whole draft runs.
    :param live: Whether steps that do something outside really do it. Without it they must be pinned.
    """

    input: NotRequired[JsonValue]
    vars: NotRequired[dict[str, JsonValue]]
    pins: NotRequired[dict[str, JsonValue]]
    step: NotRequired[str | None]
    live: NotRequired[bool]


class Usage(TypedDict, closed=True):
    """
    What one model call used. ``cost_usd`` is None where no price is known, never 0. ``price`` is the snapshot of
    the price that was charged (source, per-million-token rates), so that a bill can be explained later.
    """

    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: NotRequired[float | None]
    price: NotRequired[dict[str, JsonValue] | None]


class UsageTotal(TypedDict):
    """
    Sum over the model calls of an execution. ``cost_usd`` is null where a call's price is unknown, never too low.
    """

    model_calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class Validation(TypedDict):
    """
    What the compiler says. ``valid``: it could be published as it is.
    """

    valid: bool
    diagnostics: list[dict[str, Any]]


class VariableChange(TypedDict):
    """
    What becomes of a variable of the archive. ``needs_value``: it is secret, and its value has to be set here.
    """

    environment: str
    name: str
    change: Literal["create", "replace", "keep", "same", "conflict", "needs_value"]


class VariableSet(TypedDict, closed=True):
    """
    Sets a variable. The value of a secret is a text, and is never shown again.
    """

    value: JsonValue
    secret: NotRequired[bool]


class VariableView(TypedDict):
    """
    A variable. ``value`` is null where it is secret.
    """

    name: str
    environment: str
    secret: bool
    value: JsonValue
    updated_at: str


class VersionDetail(TypedDict):
    """
    A version with its workflow as it was sent, to the byte.
    """

    number: int
    label: str
    digest: str
    source_digest: str
    created_at: str
    created_by: str | None
    restored_from: int | None
    workflow: dict[str, Any]


class VersionView(TypedDict):
    """
    A published version. ``digest`` is its plan's sha256, ``source_digest`` that of its JSON as it was sent.

    ``restored_from`` is the number of the version that a rollback brought back with this one.
    """

    number: int
    label: str
    digest: str
    source_digest: str
    created_at: str
    created_by: str | None
    restored_from: int | None


class WarmPool(TypedDict, closed=True):
    """
    Pods that wait for Python steps with this image, network and limits; what is left out is as in a workflow.
    """

    image: NotRequired[str]
    network: NotRequired[Literal["none", "egress"]]
    resource_limits: NotRequired[ResourceLimits]
    size: int


class WarmPoolsChange(TypedDict, closed=True):
    """
    All of the organisation's warm pods; none: every pod is started when it is needed.
    """

    pools: list[WarmPool]


class WarmPoolsView(TypedDict):
    """
    The organisation's warm pods. ``most``: how many may wait at a time, of all kinds together.
    """

    pools: list[WarmPool]
    most: int


class WorkflowPause(TypedDict):
    """
    How a workflow stands. ``paused_at`` is null where it is not paused itself; its organisation may be.
    """

    workflow_id: str
    paused_at: str | None


class Problem(TypedDict):
    """
    An error (RFC 9457). `code` is for programs, `detail` for people; some errors have more members.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: NotRequired[list[dict[str, Any]]]


class AgentView(TypedDict):
    """
    An agent. ``version`` is the number of its newest version.

    ``status``: ``draft``: nothing of it was ever published. ``archived``: nothing starts it. ``active``: published, but
    it or its organisation is paused: what starts it is kept, and nothing of it is given to Airflow. ``deployed``:
    published, and Airflow gets what starts it.
    """

    id: str
    workflow_id: str
    name: str
    description: str | None
    status: Literal["draft", "active", "deployed", "archived"]
    version: int | None
    draft: DraftState
    created_at: str
    created_by: str | None
    updated_at: str
    archived_at: str | None


class ApiKeyList(TypedDict):
    """
    Keys, the newest first.
    """

    api_keys: list[ApiKeyView]


class ApprovalList(TypedDict):
    """
    A page of approvals, the newest first. ``next`` is the ``before`` of the next page; null on the last one.
    """

    approvals: list[ApprovalView]
    next: str | None


class CallerView(TypedDict):
    """
    Who calls. ``user_id``, ``email``, ``name`` are null for the operator's token and for the operator's keys.
    """

    user_id: str | None
    email: str | None
    name: str | None
    organization: str
    role: Literal["admin", "organization_owner", "team_lead", "developer", "viewer"]
    via: Literal["token", "api_key", "operator"]
    permissions: list[str]
    organizations: list[OrganizationRole]


class Changed(TypedDict):
    """
    A task or trigger that both have.
    """

    id: str
    changes: list[FieldChange]


class Coverage(TypedDict):
    """
    What a workflow depends on.
    """

    calls: list[CoveredCall]
    variables: list[CoveredVariable]


class DeadLetterList(TypedDict):
    """
    A page of dead letters, the newest first. ``next`` is the ``before`` of the next page; null on the last one.
    """

    dead_letters: list[DeadLetterView]
    next: int | None


class DeliveryList(TypedDict):
    """
    A page of deliveries, the newest first. ``next`` is the ``before`` of the next page; null on the last one.
    """

    deliveries: list[DeliveryView]
    next: str | None


class Difference(TypedDict):
    """
    A place where two values differ. ``pointer`` is of RFC 6901. A value of more than 200 bytes is null, and its
    size is told; so is one that is ``added`` or ``removed`` on its missing side, without a size.
    """

    pointer: str
    kind: Literal["changed", "added", "removed"]
    left: NotRequired[JsonValue]
    right: NotRequired[JsonValue]
    left_bytes: NotRequired[int | None]
    right_bytes: NotRequired[int | None]


class ErrorHandling(TypedDict):
    """
    What became of a failed execution's ``error_workflow``: the execution that it started, or why it did not.
    """

    workflow_id: str
    execution_id: str | None
    problem: StepError | None


class EstimateView(TypedDict):
    """
    Model calls and paths. What expressions put into prompts comes on top; what cannot be known is ``unknown``.
    """

    calls: list[CallView]
    paths: list[PathView]
    truncated: bool
    prices: str


class ExecutionCreate(TypedDict, closed=True):
    """
    Starts a workflow. ``environment`` is that of the variables it reads.
    """

    workflow_id: str
    input: NotRequired[JsonValue]
    environment: NotRequired[str]


class ExecutionList(TypedDict):
    """
    A page of executions, the newest first. ``next`` is the ``cursor`` of the next page; null on the last one.
    """

    executions: list[ExecutionSummary]
    next: str | None


class ImportReport(TypedDict):
    """
    What an import did, or would do where ``dry_run``; ``changed`` says whether anything is another than before.
    """

    dry_run: bool
    changed: bool
    agents: list[AgentChange]
    templates: list[TemplateChange]
    variables: list[VariableChange]


class InputCreate(TypedDict, closed=True):
    """
    Prepares an input.
    """

    input: NotRequired[JsonValue]


class InvitationList(TypedDict):
    """
    Invitations, the newest first.
    """

    invitations: list[InvitationView]


class MemberList(TypedDict):
    """
    The members, the first that joined first.
    """

    members: list[MemberView]


class OrganizationList(TypedDict):
    """
    The caller's organisations, the first joined first.
    """

    organizations: list[OrganizationView]


class Parts(TypedDict):
    """
    Tasks by their ids (in the body of a map ``map/task``), or triggers by type and path, cron or event type.
    """

    added: list[Named]
    removed: list[Named]
    changed: list[Changed]


class Preview(TypedDict):
    """
    What a workflow would become. ``tree`` is what ``agent-factory explain`` prints, ``plan`` the same as data.

    ``plan`` and ``tree`` are null where it has errors that leave nothing to explain; ``digest``, ``dag`` and
    ``estimate`` where it cannot be published.
    """

    valid: bool
    diagnostics: list[dict[str, Any]]
    digest: NotRequired[str | None]
    plan: NotRequired[dict[str, Any] | None]
    tree: NotRequired[str | None]
    dag: NotRequired[DagFile | None]
    estimate: NotRequired[EstimateView | None]


class ReviewDetail(TypedDict):
    """
    A review with what was reviewed. ``stale``: the draft or what it depends on is another one by now.
    """

    id: str
    agent_id: str
    workflow_id: str
    version: int | None
    digest: str
    fingerprint: str
    status: Literal["open", "approved", "rejected"]
    authors: list[str]
    note: str | None
    requested_at: str
    requested_by: str
    decided_at: str | None
    decided_by: str | None
    comment: str | None
    stale: bool
    covers: Coverage
    workflow: dict[str, Any]


class ReviewList(TypedDict):
    """
    A page of reviews, the newest first. ``next`` is the ``before`` of the next page; null on the last one.
    """

    reviews: list[ReviewView]
    next: str | None


class SessionList(TypedDict):
    """
    The sessions that last, the newest first.
    """

    sessions: list[SessionView]


class Side(TypedDict):
    """
    One of the executions.
    """

    execution_id: str
    workflow_id: str
    version: int
    status: Literal["pending", "running", "success", "failed", "cancelled"]
    epoch: int
    duration_ms: float | None
    error_code: str | None
    usage: UsageTotal


class Started(TypedDict):
    """
    A workflow that waits for the event: the execution that it started, or why it did not.
    """

    workflow_id: str
    execution_id: NotRequired[str | None]
    error: NotRequired[StepError | None]


class StepView(TypedDict):
    """
    One step. ``cost_usd`` is null where a call's price is unknown. ``approval_id`` names the decision it needs.
    ``input`` is there where it was asked for and the step began; never of a step in a map's body. ``items`` are those
    of a map; null for any other step. ``output_ref`` is there instead of a large ``output``.
    ``timing`` says where the time of a step in a pod went.
    """

    id: str
    type: str
    status: Literal["pending", "running", "success", "failed", "skipped", "upstream_failed", "cancelled"]
    input: NotRequired[StepInput | None]
    output: NotRequired[JsonValue]
    output_ref: NotRequired[OutputReference | None]
    error: NotRequired[StepError | None]
    attempts: NotRequired[int]
    started_at: NotRequired[str | None]
    ended_at: NotRequired[str | None]
    duration_ms: NotRequired[float | None]
    usage: NotRequired[list[Usage]]
    cost_usd: NotRequired[float | None]
    approval_id: NotRequired[str | None]
    timing: NotRequired[PodTiming | None]
    items: NotRequired[list[ItemView] | None]


class SubscriptionList(TypedDict):
    """
    The subscriptions of an organisation, the oldest first.
    """

    subscriptions: list[SubscriptionView]


class TeamList(TypedDict):
    """
    The teams, by name.
    """

    teams: list[TeamView]


class TemplateList(TypedDict):
    """
    A page of templates: the own ones, the newest first, then the public ones.

    ``next`` is the ``before`` of the next page; null on the last one.
    """

    templates: list[TemplateView]
    next: str | None


class ValueComparison(TypedDict):
    """
    How two values differ. ``complete`` is false where there may be more differences than are listed; ``same`` is
    null where that could not be found out.
    """

    same: bool | None
    differences: list[Difference]
    complete: bool


class VariableList(TypedDict):
    """
    The variables of an organisation, or of one environment, by environment and name.
    """

    variables: list[VariableView]


class VersionList(TypedDict):
    """
    A page of versions, the newest first. ``next`` is the ``before`` of the next page; null on the last one.
    """

    versions: list[VersionView]
    next: int | None


class WorkflowDiff(TypedDict):
    """
    What changed. ``truncated``: there is more than is told. ``workflow`` are changes outside of tasks and triggers.

    ``identical`` says that both mean the same JSON; their texts may differ.
    """

    agent_id: str
    before: str
    after: str
    identical: bool
    tasks: Parts
    edges: Edges
    triggers: Parts
    workflow: list[FieldChange]
    truncated: bool


class AgentList(TypedDict):
    """
    A page of agents, the newest first. ``next`` is the ``before`` of the next page; null on the last one.
    """

    agents: list[AgentView]
    next: str | None


class EventAccepted(TypedDict):
    """
    An event that was heard. The same event again gets the same answer and starts nothing.
    """

    event_id: str
    executions: list[Started]


class ExecutionView(TypedDict):
    """
    An execution with every step of its plan, in the plan's order.

    ``version`` and ``digest`` are of the version that runs; until the first step starts, of the one that was current
    at acceptance. ``depth`` counts the executions in a row that started one another up to this one; ``error_of`` is the
    failed execution that this one was started for. ``epoch`` counts how often it was rerun; a step that was not is
    shown with its older result. ``duration_ms`` counts from acceptance, ``queued_ms`` from acceptance to the first
    lease; both from ``reopened_at`` where it was run again.
    """

    execution_id: str
    workflow_id: str
    version: int
    digest: str
    status: Literal["pending", "running", "success", "failed", "cancelled"]
    epoch: int
    environment: str
    trigger: JsonValue
    input: JsonValue
    output: JsonValue
    output_ref: OutputReference | None
    error: StepError | None
    accepted_at: str
    reopened_at: str | None
    started_at: str | None
    completed_at: str | None
    cancel_requested_at: str | None
    parent_execution_id: str | None
    depth: int
    error_of: str | None
    error_workflow: ErrorHandling | None
    queued_ms: float | None
    duration_ms: float | None
    usage: UsageTotal
    steps: list[StepView]
    url: str
    airflow_url: str


class StepComparison(TypedDict):
    """
    A step of both sides, or of the one whose version has it. ``output`` is null where one side has none.
    """

    id: str
    left: StepFacts | None
    right: StepFacts | None
    output: ValueComparison | None


class ExecutionComparison(TypedDict):
    """
    Two executions side by side. Steps stand in the order of the left one, then those that only the
    right one has.
    """

    left: Side
    right: Side
    same_version: bool
    input: ValueComparison
    output: ValueComparison
    steps: list[StepComparison]
