"""The entrance of a witness: C2SP tlog-witness over HTTP."""

from omega.gateway.witness.entrance import entrance

__all__ = ["entrance"]
