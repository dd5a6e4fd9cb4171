"""OpenID providers, as one who relies on them (OpenID Connect Core 1.0, Discovery 1.0; OAuth 2.1 with PKCE, RFC 7636 and RFC 9207).

provider    what a provider says of itself, its keys, the exchange of a code: over the network, within what may be reached
tokens      what an ID token says, once every check has passed: pure
"""

from omega.adapters.oidc.provider import Metadata, Provider, Relying
from omega.adapters.oidc.tokens import ALGORITHMS, Expected, challenge_of, claims_of

__all__ = ["ALGORITHMS", "Expected", "Metadata", "Provider", "Relying", "challenge_of", "claims_of"]
