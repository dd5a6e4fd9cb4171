"""Certificates of workloads, from an authority of the installation's own.

    root       signs authorities, seldom: its key may lie in an HSM, or be taken away once it has signed       ten years
    issuer     signs workloads, every hour                                                                  a year
    workload   an X.509-SVID with a key of its own, which never leaves the process that made it              an hour

Root and issuer are constrained to one trust domain (name constraints, RFC 5280, 4.2.1.10), so a root that is taken into a bundle from
elsewhere vouches for its own domain and no other. A *bundle* is every root that counts; a new root is in it before it signs.
"""

from omega.adapters.certificates.authority import Issued, Issuer, Root
from omega.adapters.certificates.looking import Listening, look, look_there
from omega.adapters.certificates.rotation import Credentials

__all__ = ["Credentials", "Issued", "Issuer", "Listening", "Root", "look", "look_there"]
