"""What a touch may cost is set aside before it is made, in the budget of its run and in every limit that it counts on.

    foretold     what the request can come to at most, as its effector tells it: a model's price times the tokens that it may read and write
    in vain      what was used all the same, by a request that failed: an answer that was cut off is paid for

Set aside at once with the look at what is left, so requests made at the same moment never find the same room.
"""

from __future__ import annotations

from omega.kernel.budget import Budget, Spent
from omega.kernel.effects import ModelCall, Receipt, Request
from omega.kernel.errors import Denied, OmegaError
from omega.kernel.ports import Effector, Foretelling

USED = "used"
"""In the details of an error: what was spent in vain, {"cost_micros", "tokens"}."""


async def foretold(effector: Effector, request: Request, tenant: str) -> Receipt:
    """What `request` can come to at most. An effector that cannot tell: the tokens that a model may write. Raises InputError."""
    if not isinstance(request, ModelCall):
        return Receipt()
    if isinstance(effector, Foretelling):
        return await effector.foretell(tenant, request)
    return Receipt(tokens=request.max_tokens)


def check_budget(left: Budget, most: Receipt, flow: str) -> Spent:
    """What is to be set aside of `left`. Raises Denied (OMG-W005) where it does not cover that, or is money and the price is not known."""
    reserved = Spent(most.cost_micros, most.tokens)
    if left.cost_micros is not None and not most.priced:
        raise Denied(
            "OMG-W005",
            f"the budget of {flow} is money, and no price is known of the model",
            advice="ask a model with a known price, have an operator give this one a price, or set the budget in tokens",
        )
    if left.allows(reserved):
        return reserved
    if left.tokens is not None and reserved.tokens > left.tokens:
        cause = f"{flow} may use {reserved.tokens} tokens, which is more than the budget has left"
    else:
        cause = f"{flow} may spend {reserved.cost_micros / 1e6:.6f} {left.currency}, which is more than the budget has left"
    advice = "set a lower max_tokens, or start the run with a larger budget"
    raise Denied("OMG-W005", cause, advice=advice, details={"tokens": reserved.tokens, "cost_micros": reserved.cost_micros})


def in_vain(error: OmegaError) -> Receipt:
    """What a request used that failed with `error`, as far as its effector says so."""
    used = error.details.get(USED)
    if not isinstance(used, dict):
        return Receipt()
    amounts = [used.get(name, 0) for name in ("cost_micros", "tokens")]
    if not all(type(amount) is int and amount >= 0 for amount in amounts):
        return Receipt()
    return Receipt(cost_micros=amounts[0], tokens=amounts[1])
