"""What a run would cost at most, as far as that can be told before it: per model call, and per path of decisions.

An estimate, and an honest one: what cannot be known is ``"unknown"``, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from compiler.expressions import has_expression
from compiler.plan import Plan, Step, every_step
from operators.ai.resolve import ModelChoice, resolve_model
from operators.execution.flow import Flow, Progress
from operators.execution.records import StepRecord
from operators.steps.base import StepFailedError

MAX_PATHS = 64
CHARACTERS_A_TOKEN = 4
"""A rule of thumb for English; code and other languages take more tokens."""

Unknown = Literal["unknown"]
UNKNOWN: Unknown = "unknown"
CHOOSING = ("then", "default", "approve", "reject")


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """A model call of one step, one attempt.

    :param prompt_tokens: About how many the fixed text of the prompt has; what expressions put in comes on top.
    :param max_tokens: The most that are answered.
    :param usd: The fixed prompt and the longest answer at today's list price.
    :param reason: Why ``usd`` is unknown.
    :param attempts: How often it may be tried and paid.
    """

    step_id: str
    model: str
    prompt_tokens: int
    max_tokens: int | Unknown
    attempts: int
    usd: float | Unknown
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PathEstimate:
    """What runs under some decisions, if nothing fails.

    :param decisions: Step -> the task it chooses, or the decision it gets.
    :param model_calls: How many, each tried once; unknown where a map or another workflow calls models.
    """

    decisions: dict[str, str | None]
    model_calls: int | Unknown
    usd: float | Unknown
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """Every model call of a workflow, and its paths; ``truncated``: there are more paths than are told."""

    calls: tuple[CallEstimate, ...]
    paths: tuple[PathEstimate, ...]
    truncated: bool
    prices: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def estimate(plan: Plan) -> Estimate:
    """Estimate a plan. Slow at first: it loads the price list."""
    import genai_prices

    calls = {step.id: _call(step) for step in every_step(plan.steps) if step.type == "ai_inference"}
    flow = Flow(plan)
    paths: list[PathEstimate] = []
    for decisions, journal in _paths(flow):
        if len(paths) == MAX_PATHS:
            return Estimate(tuple(calls.values()), tuple(paths), True, f"genai-prices {genai_prices.__version__}")
        run = [flow.steps[step_id] for step_id, record in journal.items() if record.status == "success"]
        paths.append(_path(decisions, run, calls))
    return Estimate(tuple(calls.values()), tuple(paths), False, f"genai-prices {genai_prices.__version__}")


def _paths(flow: Flow) -> Iterator[tuple[dict[str, str | None], dict[str, StepRecord]]]:
    """Yield the decisions and the journal of each way through the steps on which nothing fails."""
    # Pairs of the decisions that are fixed and their values; what is met undecided is tried one way after another.
    todo: list[dict[str, str | None]] = [{}]
    while todo:
        fixed = todo.pop(0)
        progress = Progress(flow, {})
        ready, open_choice = progress.open().ready, None
        while ready and open_choice is None:
            step = flow.steps[ready.pop(0)]
            options = _options(step)
            if len(options) > 1 and step.id not in fixed:
                open_choice = (step.id, options)
                break
            ready += progress.add(_success(step, fixed)).ready
        if open_choice is None:
            yield fixed, progress.journal
        else:
            todo = [fixed | {open_choice[0]: option} for option in open_choice[1]] + todo


def _options(step: Step) -> list[str | None]:
    """Return what a step may choose: targets of a conditional, decisions of an approval."""
    kinds = [edge.kind for edge in step.edges]
    if "approve" in kinds or "reject" in kinds:
        return ["approve", "reject"]
    targets: list[str | None] = list(dict.fromkeys(edge.target for edge in step.edges if edge.kind in CHOOSING))
    # Without a default it may choose none.
    return [*targets, None] if targets and "default" not in kinds else targets


def _success(step: Step, fixed: Mapping[str, str | None]) -> StepRecord:
    options = _options(step)
    chosen = fixed.get(step.id, options[0] if options else None)
    return StepRecord(id=step.id, status="success", output={"branch": chosen, "decision": chosen})


def _path(decisions: dict[str, str | None], steps: list[Step], calls: Mapping[str, CallEstimate]) -> PathEstimate:
    own = [calls[step.id] for step in steps if step.id in calls]
    for step in steps:
        if step.type == "workflow":
            return PathEstimate(decisions, UNKNOWN, UNKNOWN, f"{step.id!r} calls another workflow")
        if any(inner.type in ("ai_inference", "workflow") for inner in every_step(step.body)):
            return PathEstimate(decisions, UNKNOWN, UNKNOWN, f"how many items {step.id!r} gets is not known")
    usd = 0.0
    for call in own:
        if call.usd == UNKNOWN:
            return PathEstimate(decisions, len(own), UNKNOWN, f"{call.step_id!r}: {call.reason}")
        usd += float(call.usd)
    return PathEstimate(decisions, len(own), usd)


def _call(step: Step) -> CallEstimate:
    config: dict[str, Any] = step.config
    model = str(config.get("model") or config.get("route") or "")
    limit = config.get("max_tokens")
    max_tokens: int | Unknown = limit if isinstance(limit, int) and not isinstance(limit, bool) else UNKNOWN
    prompt_tokens = math.ceil(len(_fixed_text(config)) / CHARACTERS_A_TOKEN)
    usd, reason = _price(model, prompt_tokens, max_tokens)
    return CallEstimate(step.id, model, prompt_tokens, max_tokens, step.retry.attempts, usd, reason)


def _fixed_text(config: dict[str, Any]) -> str:
    """Return what of a prompt stands there before it runs. Of a template with expressions that is more or less it."""
    texts = [config.get("system"), config.get("prompt")]
    messages = config.get("messages")
    texts += [message.get("content") for message in messages or () if isinstance(message, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _price(model: str, prompt_tokens: int, max_tokens: int | Unknown) -> tuple[float | Unknown, str | None]:
    if has_expression(model):
        return UNKNOWN, "an expression chooses the model"
    if max_tokens == UNKNOWN:
        return UNKNOWN, "`max_tokens` is no number, so the answer may be of any length"
    try:
        choice = resolve_model(model)
    except StepFailedError as error:
        return UNKNOWN, error.message
    cost = _list_price(choice, prompt_tokens, int(max_tokens))
    return (UNKNOWN, f"no price of {model!r} is known") if cost is None else (cost, None)


def _list_price(choice: ModelChoice, prompt_tokens: int, max_tokens: int) -> float | None:
    import genai_prices

    usage = genai_prices.Usage(input_tokens=prompt_tokens, output_tokens=max_tokens)
    try:
        calculation = genai_prices.calc_price(usage, choice.model, provider_id=choice.provider)
    except (LookupError, ValueError):
        return None
    return float(calculation.total_price)
