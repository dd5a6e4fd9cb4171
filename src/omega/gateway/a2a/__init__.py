"""The entrance for agents of others (A2A 1.0): published flows as agents, executions as tasks, over JSON-RPC and HTTP+JSON."""

from omega.gateway.a2a.desk import CONTEXT, LABEL, MESSAGE, SIGNAL, Account, Agent, Desk, Question, Said, Takes
from omega.gateway.a2a.entrance import entrance
from omega.gateway.a2a.showing import PREFIX, cards

__all__ = [
    "CONTEXT",
    "LABEL",
    "MESSAGE",
    "PREFIX",
    "SIGNAL",
    "Account",
    "Agent",
    "Desk",
    "Question",
    "Said",
    "Takes",
    "cards",
    "entrance",
]
