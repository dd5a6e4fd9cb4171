"""LangGraph on Omega's journal: a checkpointer. Needs the extra `langgraph`; importing this package loads it."""

from omega.adapters.langgraph.saver import OmegaSaver
from omega.adapters.langgraph.threads import KEEPER

__all__ = ["KEEPER", "OmegaSaver"]
