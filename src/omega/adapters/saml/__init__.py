"""SAML 2.0, as a service provider: requests by redirection, responses by POST, signed assertions (saml-core-2.0, saml-profiles-2.0).

    reading     XML of strangers: nothing of it is resolved, and what two readers might see differently is refused
    assertions  what a signed assertion says, once every check has passed
    messages    the request that sends a browser to its provider, and what is published about this side
    providers   what a provider's metadata says of it

Needs the extra `saml` (signxml, lxml). Signatures are signxml's work; only what it gives back as signed is read.
"""

from omega.adapters.saml.assertions import Awaited, said_by
from omega.adapters.saml.messages import Side, address_of, metadata
from omega.adapters.saml.providers import Issuer, issuer_of

__all__ = ["Awaited", "Issuer", "Side", "address_of", "issuer_of", "metadata", "said_by"]
