"""Wake-ups over NATS, for workers that shall hear of work without a connection to the database for it."""

from omega.adapters.nats.wakeups import NatsWakeups

__all__ = ["NatsWakeups"]
