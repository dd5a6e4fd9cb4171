"""Attestations: who built a component, from what, and how, signed so that it can be checked before the component runs. Pure functions.

    envelope     DSSE v1 (secure-systems-lab): base64 payload, its type, signatures over PAE(type, payload)
    payload      in-toto Statement v1: subjects (name and SHA-256), the type of the predicate, the predicate
    predicate    SLSA provenance v1: what was built (buildType, parameters), by whom (builder.id), from what (resolvedDependencies)

`cosign`, `slsa-verifier` and the in-toto tools speak the same. What is checked is always the bytes that were signed; the JSON in them is
read only after a signature holds. ECDSA signatures stand in DER, as those tools write them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omega.kernel.errors import Denied
from omega.kernel.ports import Signer
from omega.trust.jws import strict_json
from omega.trust.keys import ES256, PublicKey, der_of_es256, es256_of_der

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"

MAX_ENVELOPE = 1 << 20
"""Largest envelope in bytes: a provenance with some thousand dependencies."""

MAX_SIGNATURES = 16
MAX_SUBJECTS = 1024


@dataclass(frozen=True, slots=True)
class Statement:
    """What an attestation says: `subjects` (name to SHA-256 in hex), the type of the predicate and the predicate itself."""

    subjects: Mapping[str, str]
    kind: str
    predicate: Mapping[str, Any]

    @property
    def builder(self) -> str:
        """Who built it, as provenance names it; empty for another predicate."""
        run = self.predicate.get("runDetails")
        builder = run.get("builder") if isinstance(run, dict) else None
        name = builder.get("id") if isinstance(builder, dict) and self.kind == PROVENANCE else None
        return name if isinstance(name, str) else ""


def provenance(
    subjects: Mapping[str, str], *, builder: str, build_type: str, parameters: Mapping[str, Any], dependencies: Mapping[str, str]
) -> Statement:
    """SLSA provenance: `builder` made `subjects` (name to SHA-256 in hex) from `dependencies` (address to SHA-256 in hex)."""
    resolved = [{"uri": uri, "digest": {"sha256": digest}} for uri, digest in sorted(dependencies.items())]
    definition = {"buildType": build_type, "externalParameters": dict(parameters), "resolvedDependencies": resolved}
    return Statement(dict(subjects), PROVENANCE, {"buildDefinition": definition, "runDetails": {"builder": {"id": builder}}})


def attest(statement: Statement, signers: Sequence[Signer]) -> bytes:
    """The envelope with `statement`, signed by each of `signers`."""
    body = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(statement.subjects.items())],
        "predicateType": statement.kind,
        "predicate": statement.predicate,
    }
    payload = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    message = encoded(PAYLOAD, payload)
    signatures = [{"keyid": PublicKey(each.public).kid, "sig": _base64(_written(each, each.sign(message)))} for each in signers]
    envelope = {"payload": _base64(payload), "payloadType": PAYLOAD, "signatures": signatures}
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def opened(envelope: bytes, keys: Collection[PublicKey], *, threshold: int = 1) -> Statement:
    """The statement in `envelope`, which at least `threshold` different ones of `keys` signed. Raises Denied (OMG-T008)."""
    try:
        found = strict_json(envelope) if len(envelope) <= MAX_ENVELOPE else {}
        payload = base64.b64decode(found["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in found["signatures"]]
        kind = str(found["payloadType"])
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise _refused("it is no envelope") from error
    if kind != PAYLOAD or len(signatures) > MAX_SIGNATURES:
        raise _refused("it is an envelope with something else in it")
    message = encoded(kind, payload)
    good = {key.raw for key in keys for signature in signatures if key.verifies(_read(key, signature), message)}
    if len(good) < max(1, threshold):
        raise _refused(f"{len(good)} trusted keys signed it, {max(1, threshold)} are needed")
    return _statement(payload)


def require(statement: Statement, *, digest: str, builders: Collection[str]) -> None:
    """Raise Denied (OMG-T008) unless `statement` is provenance of what has the SHA-256 `digest` (hex), by one of `builders`."""
    if statement.kind != PROVENANCE or statement.builder not in builders:
        raise _refused(f"it is not provenance by a builder that is trusted: {statement.builder[:120] or 'none'}")
    if not any(hmac.compare_digest(each.encode(), digest.encode()) for each in statement.subjects.values()):
        raise _refused("it is about another component")


def encoded(kind: str, payload: bytes) -> bytes:
    """What a signature covers: DSSE's pre-authentication encoding of type and payload."""
    word = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(word), word, len(payload), payload)


def _statement(payload: bytes) -> Statement:
    try:
        body = strict_json(payload)
        subjects = {each["name"]: each["digest"]["sha256"] for each in body["subject"]}
        statement = Statement(subjects, body["predicateType"], body["predicate"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused("what was signed is no statement") from error
    whole = body["_type"] == STATEMENT and len(subjects) == len(body["subject"]) <= MAX_SUBJECTS and subjects
    texts = (statement.kind, *subjects, *subjects.values())
    if not whole or not all(isinstance(text, str) for text in texts) or not isinstance(statement.predicate, dict):
        raise _refused("what was signed is no statement")
    return statement


def _written(signer: Signer, signature: bytes) -> bytes:
    return der_of_es256(signature) if PublicKey(signer.public).algorithm == ES256 else signature


def _read(key: PublicKey, signature: bytes) -> bytes:
    if key.algorithm != ES256:
        return signature
    try:
        return es256_of_der(signature)
    except ValueError:
        return b""


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _refused(cause: str) -> Denied:
    return Denied("OMG-T008", f"the attestation is refused: {cause}")
