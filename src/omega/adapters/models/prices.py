"""What an answer costs: the operator's own price, else the dated public list of `genai-prices`. An unknown model is unpriced, never free.

Amounts are millionths of a US dollar, rounded up: what is charged is at least what is counted.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from omega.adapters.models.registry import Candidate
from omega.adapters.models.said import Usage

MICROS: Final = Decimal(1_000_000)
MAX_UNKNOWN: Final = 10_000
"""Most models remembered as unpriced."""

log = logging.getLogger("omega.models")


@dataclass(frozen=True, slots=True)
class Cost:
    """What something cost: millionths of a US dollar, None where nobody knows; and where the price is from."""

    micros: int | None
    source: str


class PriceBook:
    """Prices by provider and model. The list is loaded when it is first needed (about half a second), in whatever thread asks."""

    def __init__(self) -> None:
        self._library: Any = None
        self._missing = False
        self._unknown: set[tuple[str, str]] = set()
        self._told: set[str] = set()

    @property
    def unpriced(self) -> list[str]:
        """The models that were asked, and whose price nobody knows, by name."""
        return sorted(self._told)

    def load(self) -> None:
        """Have the list ready: slow the first time."""
        if self._library is None and not self._missing:
            try:
                import genai_prices
            except ImportError:
                self._missing = True
            else:
                self._library = genai_prices

    @property
    def ready(self) -> bool:
        """Whether the list needs no loading any more."""
        return self._library is not None or self._missing

    def cost(self, candidate: Candidate, version: str, usage: Usage, at_us: int) -> Cost:
        """What `usage` costs at the prices of that moment (Unix microseconds). One that is unknown is told to the log, once."""
        if candidate.price is not None:
            amount = candidate.price.input * usage.input + candidate.price.output * usage.output
            return Cost(int(amount.to_integral_value(ROUND_CEILING)), f"own price as of {candidate.price.as_of}")
        for name in dict.fromkeys((version, candidate.provider.model)):
            found = self._listed(candidate.prices or candidate.provider.name, name, usage, at_us) if name else None
            if found is not None:
                return found
        if candidate.name not in self._told and len(self._told) < MAX_UNKNOWN:
            self._told.add(candidate.name)
            log.warning("no price is known of the model %s: what it costs is not counted", candidate.name)
        return Cost(None, "")

    def _listed(self, provider: str, model: str, usage: Usage, at_us: int) -> Cost | None:
        if (provider, model) in self._unknown:
            return None
        self.load()
        if self._library is None:
            return None
        counts = self._library.Usage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cached or None,
            cache_write_tokens=usage.cache_written or None,
        )
        moment = datetime.fromtimestamp(at_us / 1_000_000, UTC)
        try:
            price = self._library.calc_price(counts, model, provider_id=provider, genai_request_timestamp=moment)
        except (LookupError, ValueError):
            if len(self._unknown) < MAX_UNKNOWN:
                self._unknown.add((provider, model))
            return None
        micros = (price.total_price * MICROS).to_integral_value(ROUND_CEILING)
        return Cost(int(micros), f"genai-prices {_version(self._library)}")


def _version(library: Any) -> str:
    return str(getattr(library, "__version__", ""))
