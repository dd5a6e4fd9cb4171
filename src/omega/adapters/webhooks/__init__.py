"""Webhooks out: one signed POST to an address that somebody else chose."""

from omega.adapters.webhooks.effector import Deliver, Receiver, WebhookEffector, send
from omega.adapters.webhooks.signing import new_secret, sign, verified

__all__ = ["Deliver", "Receiver", "WebhookEffector", "new_secret", "send", "sign", "verified"]
