"""Signing on with the account of an organisation: OpenID Connect and SAML, for browsers."""

from omega.gateway.sso.entrance import Arrived, Desk, Sent, entrance

__all__ = ["Arrived", "Desk", "Sent", "entrance"]
