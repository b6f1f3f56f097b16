"""What a model call costs, from the offline price list of ``genai-prices``."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from operators.ai.resolve import ModelChoice
from operators.execution.records import Usage

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse


def usage_of(response: ModelResponse, choice: ModelChoice) -> Usage:
    """Return the tokens of a response with their price; ``cost_usd`` is None where no price is known.

    The model's name in the response is tried first: providers answer with the exact version they ran. Prices go by
    name also behind a base URL of one's own, which most often is a gateway to the same model.
    """
    cost, price = None, None
    for model in dict.fromkeys((response.model_name, choice.model)):
        if model and (found := _calculated(response, choice.provider, model)):
            cost, price = found
            break
    return Usage(
        provider=choice.provider,
        model=response.model_name or choice.model,
        input_tokens=response.usage.input_tokens,
        output_tokens=response.usage.output_tokens,
        cost_usd=cost,
        price=price,
    )


def _calculated(response: ModelResponse, provider: str, model: str) -> tuple[float, dict[str, JsonValue]] | None:
    import genai_prices

    try:
        calculation = genai_prices.calc_price(response.usage, model, provider_id=provider)
    except (LookupError, ValueError):
        return None
    rates = {name: _plain(rate) for name, rate in vars(calculation.model_price).items() if rate is not None}
    source = f"genai-prices {genai_prices.__version__}"
    return float(calculation.total_price), {"source": source, "model": calculation.model.id, **rates}


def _plain(rate: Any) -> JsonValue:
    """Return a rate as JSON: a number, or its tiers."""
    if isinstance(rate, Decimal):
        return float(rate)
    tiers: list[JsonValue] = [{"start": tier.start, "price": float(tier.price)} for tier in rate.tiers]
    return {"base": float(rate.base), "tiers": tiers}
