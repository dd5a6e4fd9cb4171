"""Alerts to people: a chat, a mailbox, or a program that takes JSON."""

from omega.adapters.alerts.effector import Address, AlertEffector

__all__ = ["Address", "AlertEffector"]
