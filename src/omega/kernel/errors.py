"""One small tree of errors: each has a stable code, says whose turn it is, and advises what to do.

    OmegaError
    ├── DefinitionError   the flow cannot be built as written          fault: flow
    ├── InputError        what was handed in does not fit              fault: caller
    ├── Denied            policy, limits, budget or passport say no    fault: policy
    ├── FlowError         a step failed, timed out or diverged         fault: flow
    ├── UpstreamError     an outside program or server misbehaved      fault: upstream
    ├── StorageError      the data folder cannot be used as asked      fault: caller or omega
    ├── IntegrityError    what is stored is not what was written       fault: omega
    └── Suspended         nothing failed: a person or a signal is awaited

Codes are data (`CODES`): a letter for the floor it comes from and a number that is never reused. `docs/errors.md` has a paragraph per
code; a test holds the two together. Letters: F flow definition, L documents (POML), I input, R runtime, S storage, T trust, W warden,
C chronicle, M tools (MCP), P processes and files, G entrances over the network, X command line and host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Fault(StrEnum):
    """Whose turn it is to act."""

    CALLER = "caller"
    POLICY = "policy"
    FLOW = "flow"
    UPSTREAM = "upstream"
    OMEGA = "omega"


@dataclass(frozen=True, slots=True)
class Code:
    """What is known of an error code before it happens: a title of a few words, whose turn it is, and what to do."""

    title: str
    fault: Fault
    advice: str


class OmegaError(Exception):
    """Base of everything Omega raises on purpose.

    `code` is a key of `CODES`, `cause` one sentence about this very case, `advice` a next step (the code's own when
    none is given), `details` JSON-ready facts that a program may read. None of them ever holds a secret or a payload.
    """

    family: ClassVar[str] = "error"

    def __init__(self, code: str, cause: str, *, advice: str = "", details: Mapping[str, Any] | None = None) -> None:
        known = CODES[code]
        self.code = code
        self.title = known.title
        self.fault = known.fault
        self.cause = cause
        self.advice = advice or known.advice
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(f"{code} {cause}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.code, self.cause, self.advice, self.details))

    def record(self) -> dict[str, Any]:
        """The error as data: what is journaled, printed with `--json`, and rebuilt by `from_record`."""
        return {
            "family": self.family,
            "code": self.code,
            "title": self.title,
            "fault": self.fault.value,
            "cause": self.cause,
            "advice": self.advice,
            "details": self.details,
        }


class DefinitionError(OmegaError):
    """A flow cannot be built as written: found when flows are joined, not when they run."""

    family = "definition"


class InputError(OmegaError):
    """What was handed in does not fit what was asked for."""

    family = "input"


class Denied(OmegaError):
    """The gate said no. Carries the deciding policy and how to ask; never more than the caller may know."""

    family = "denied"


class FlowError(OmegaError):
    """A step failed, ran out of time, or no longer matches what is recorded."""

    family = "flow"


class UpstreamError(OmegaError):
    """An outside program or server hung, crashed, lied or refused."""

    family = "upstream"


class StorageError(OmegaError):
    """The data folder cannot be used as asked: missing, locked, full, read-only or newer than this release."""

    family = "storage"


class IntegrityError(OmegaError):
    """What is stored is not what was written: refuse it, keep it, tell."""

    family = "integrity"


class Suspended(OmegaError):
    """The execution waits for a person or a signal; everything recorded is safe and it can be resumed."""

    family = "suspended"


_FAMILIES: dict[str, type[OmegaError]] = {
    kind.family: kind for kind in (DefinitionError, InputError, Denied, FlowError, UpstreamError, StorageError, IntegrityError, Suspended)
}


def from_record(record: Mapping[str, Any]) -> OmegaError:
    """Rebuild an error from `OmegaError.record()`; a family this release does not know becomes a `FlowError`."""
    kind = _FAMILIES.get(str(record.get("family", "")), FlowError)
    code = str(record.get("code", "OMG-R001"))
    if code not in CODES:
        code = "OMG-R001"
    return _rebuild(kind, code, str(record.get("cause", "")), str(record.get("advice", "")), dict(record.get("details") or {}))


def _rebuild(kind: type[OmegaError], code: str, cause: str, advice: str, details: dict[str, Any]) -> OmegaError:
    return kind(code, cause, advice=advice, details=details)


_F, _C, _P, _U, _O = Fault.FLOW, Fault.CALLER, Fault.POLICY, Fault.UPSTREAM, Fault.OMEGA

CODES: dict[str, Code] = {
    # F: flow definitions
    "OMG-F001": Code("types do not fit", _F, "change one of the two types, or put a flow between them that converts"),
    "OMG-F002": Code("not a flow", _F, "give an annotated function one input and a return type, and decorate it with @flow"),
    "OMG-F003": Code("combinator misused", _F, "see docs/flows.md for what this combinator takes"),
    "OMG-F004": Code("expression does not parse", _F, "write the predicate in CEL over `out`, or pass a pure flow that returns bool"),
    "OMG-F005": Code("name not usable", _F, "use lower-case letters, digits, '-', '_' and '.', starting with a letter"),
    # L: POML documents
    "OMG-L001": Code("document not readable", _F, "the cause gives file, line and column; write it in plain YAML or JSON"),
    "OMG-L002": Code("document over a limit", _F, "split the document, or let nodes refer to nodes by name"),
    "OMG-L003": Code(
        "document has another shape", _F, "see docs/poml.md for what may stand here; omega.kernel.poml/schema-2.0.0.json says it to editors"
    ),
    "OMG-L004": Code("name not in the document", _F, "name a node or type that the document defines, or define it"),
    "OMG-L005": Code("document leads back to itself", _F, "break the way round: results are handed on, never back"),
    "OMG-L006": Code("types of nodes do not fit", _F, "change one of the two types, or put a node between them that converts"),
    "OMG-L007": Code(
        "secret in a document", _F, "put {env: NAME} under `secrets`, refer to it by name, and change the secret: it has been written down"
    ),
    "OMG-L008": Code("flow of a node not found", _F, "name an importable flow as module:flow"),
    "OMG-L009": Code("expression of nodes not understood", _F, "write it as a -> [b, c] -> d"),
    "OMG-L010": Code("format version not supported", _F, "write poml: 2.0.0, or use a release that knows the newer format"),
    "OMG-L011": Code("node cannot run yet", _F, "use a flow or tool node in its place"),
    "OMG-L012": Code("flow has no document", _F, "move the function to the top of an importable module, or pass refer= to from_flow"),
    # I: input
    "OMG-I001": Code("input does not fit", _C, "compare the input with the flow's input type: omega run TARGET --help-input"),
    "OMG-I002": Code("target not found", _C, "name a file, module:flow, or an example"),
    "OMG-I003": Code("no such execution", _C, "list what is recorded with omega runs"),
    "OMG-I004": Code("no such step", _C, "list the steps with omega show ID"),
    "OMG-I005": Code("nothing to decide", _C, "see what the step is waiting for with omega show ID"),
    # R: runtime
    "OMG-R001": Code("step failed", _F, "see the step with omega show ID, mend the cause, then start a new run"),
    "OMG-R002": Code("value cannot be stored", _F, "return plain data or a pydantic model; the path names the value"),
    "OMG-R003": Code("value too large", _F, "write large data to a file or blob and return its reference"),
    "OMG-R004": Code("deadline passed", _F, "raise the timeout, or make the step faster"),
    "OMG-R005": Code("cancelled", _C, "start a new run if this was not meant"),
    "OMG-R006": Code("step in doubt", _C, "look at the target, then say what happened: omega resolve ID STEP --done VALUE | --not-done"),
    "OMG-R007": Code("every branch failed", _F, "the details list each branch's error"),
    "OMG-R008": Code("call outside the flow's own task", _F, "open branches with ctx.parallel, ctx.race or ctx.foreach only"),
    "OMG-R009": Code("lost the lease", _O, "another engine owns this execution now; follow it there"),
    "OMG-R010": Code("already running", _C, "follow it with omega show ID"),
    "OMG-R011": Code("waiting for a person", _C, "approve it with omega approve ID STEP, then omega resume ID"),
    "OMG-R012": Code("not replayable", _C, "only an execution that ended can be replayed; resume it first"),
    "OMG-R013": Code(
        "touch without a step", _F, "declare the flow's effect (read, idempotent, write, irreversible); a pure flow cannot touch the world"
    ),
    "OMG-R014": Code("the flow changed while it was running", _F, "finish on the recorded version, or start a new run"),
    "OMG-R015": Code("recorded value differs", _O, "the journal and the flow disagree: run omega verify, then compare code versions"),
    "OMG-R016": Code("too many steps or branches", _F, "split the work into several executions"),
    "OMG-R017": Code("no answer for this step", _F, "give one with omega_test.answers(flow, value)"),
    "OMG-R019": Code("nothing serves this port", _F, "wire an effector for the port: docs/extending.md says how"),
    "OMG-R018": Code("waiting for a signal", _C, "send it with omega signal ID NAME VALUE, then omega resume ID"),
    "OMG-R020": Code("waiting for a moment", _C, "a worker goes on when the time has come; without one, omega resume ID"),
    "OMG-R021": Code("waiting for a child", _C, "the end of the child wakes it; omega show CHILD says how far it is"),
    "OMG-R022": Code("taken up too often", _F, "find what ends its workers, mend it, then omega redrive ID"),
    "OMG-R023": Code("migration refused", _F, "finish on the recorded version, or write the new one so that it repeats what is recorded"),
    "OMG-R030": Code("batch answered for another number", _F, "have the flow give one result for each item, in the same order"),
    "OMG-R031": Code("compensation failed", _F, "the details say what is not undone: undo it by hand, then start a new run"),
    "OMG-R040": Code("no turn within the limit", _F, "call it less often, or raise the rate or the patience of rate_limited"),
    "OMG-R041": Code("circuit open", _F, "wait until the breaker lets a call through, or give it otherwise="),
    "OMG-R042": Code("waiting for an answer", _C, "omega show ID says what is asked; omega answer ID STEP, then omega resume ID"),
    "OMG-R043": Code("nobody answered in time", _F, "raise within=, or say what happens instead with otherwise="),
    "OMG-R044": Code("learning did not help", _F, "give more examples or other parameters to try; the details hold the report"),
    "OMG-R045": Code("watcher too slow", _C, "read the stream faster, or watch it again: the result is recorded all the same"),
    "OMG-R046": Code("context of another execution", _F, "merge and restore contexts of the same execution and caller only"),
    # S: storage
    "OMG-S001": Code("data folder in use", _C, "another engine works in this folder: wait for it, or set OMEGA_HOME to another one"),
    "OMG-S002": Code("data folder not usable", _C, "give OMEGA_HOME a folder you own, on a local disk with free space"),
    "OMG-S003": Code("format is newer than this release", _C, "upgrade omega, or use another OMEGA_HOME"),
    "OMG-S004": Code("storage failed", _O, "nothing after the last commit is lost: free space or mend the disk, then resume"),
    "OMG-S005": Code("stored data is damaged", _O, "restore the folder from a backup; omega verify says what is sound"),
    "OMG-S006": Code("stale epoch", _O, "a newer owner holds this execution; this one has stopped"),
    "OMG-S007": Code("tenants are not kept apart", _C, "connect as a role that row-level security binds, see docs/stores.md"),
    # T: trust
    "OMG-T001": Code("passport refused", _P, "get a fresh passport for this installation"),
    "OMG-T002": Code("delegation refused", _P, "delegate only rights you hold, to a depth of eight at most"),
    "OMG-T003": Code("key store not usable", _C, "the folder `keys` must belong to you with mode 700, its files 600"),
    "OMG-T004": Code("sealed value cannot be opened", _O, "the key was destroyed or the bytes were changed; run omega verify"),
    "OMG-T005": Code(
        "signer does not answer", _U, "see that the HSM or key store is up and lets this process sign; omega keys list tries it"
    ),
    "OMG-T006": Code("signer signs wrongly", _U, "stop using this key: the device, its key or the way to it is not what it was"),
    "OMG-T007": Code("credential refused", _P, "ask its issuer for a new one; the details say what does not hold"),
    "OMG-T008": Code("attestation refused", _P, "use a component whose builder and digest the attestation names"),
    "OMG-T009": Code("letter refused", _P, "decide again, with your own passport: a fresh letter says who wrote it"),
    "OMG-T010": Code("certificate refused", _P, "use a certificate of this installation that has not ended: omega keys certificates"),
    "OMG-T011": Code("passkey refused", _P, "ask anew and touch the key again: omega mfa list shows the keys that count"),
    "OMG-T012": Code("passkey may have a copy", _P, "do not use this key again: remove it, and find out who else has it"),
    "OMG-T013": Code("sign-in takes another way", _P, "open a sign-in link (omega sign-in prints one), or sign in with your organisation"),
    # W: warden
    "OMG-W001": Code("denied by policy", _P, "omega policy explain ID/STEP shows the rule and how to ask"),
    "OMG-W002": Code("policy failed to evaluate", _P, "mend the policy named in the details: omega policy check"),
    "OMG-W003": Code("policy file refused", _C, "mend the lines named in the details, then omega policy check"),
    "OMG-W004": Code("rate limit reached", _P, "wait as long as the details say, or ask for a higher limit"),
    "OMG-W005": Code("budget spent", _P, "raise the budget of the run, or do less"),
    "OMG-W006": Code("permit refused", _O, "a permit serves one touch of one step; nothing was done"),
    "OMG-W007": Code("approval refused", _P, "approval needs another person with the named role"),
    "OMG-W008": Code("capability missing", _P, "grant the capability named in the details to the caller, in policy and passport"),
    "OMG-W009": Code("in quarantine", _P, "omega quarantine list says why; two persons of role owner can release it"),
    "OMG-W010": Code(
        "stopped by a guard", _P, "look at what the tool was given or answered (omega show ID) and at the rules (omega guards list)"
    ),
    "OMG-W011": Code("circuit open at the gate", _U, "wait as long as the details say: it failed too often; omega breaker list"),
    "OMG-W012": Code("too many of one kind", _P, "remove one that is no longer needed, or have an operator arrange it"),
    "OMG-W013": Code("guardrail tripped", _P, "see what the details name; ask otherwise, or change the checks of the agent"),
    # C: chronicle
    "OMG-C001": Code("log does not verify", _O, "keep the folder as it is and compare with a checkpoint you hold elsewhere"),
    "OMG-C002": Code(
        "log was rolled back or forked", _O, "the checkpoint you hold is newer than, or foreign to, this log: find out who restored it"
    ),
    "OMG-C003": Code("export cannot be read", _C, "export it again with omega verify --export FILE"),
    "OMG-C004": Code("legal hold stands", _P, "erase again when the hold has been lifted, by whoever may lift it"),
    "OMG-C005": Code("content was redacted", _P, "omega show ID has what is left; where replay is wanted, keep the content level full"),
    "OMG-C006": Code("transfer needs consent", _P, "record a consent first: omega privacy consent --to REGION --reason TEXT"),
    "OMG-C007": Code("kept copy cannot be changed", _P, "leave it as it is until its time is over; it can only be kept for longer"),
    "OMG-C008": Code("witness does not cosign", _U, "see that it is up and watches this log: omega witness status"),
    "OMG-C009": Code("log is not witnessed in time", _U, "omega witness status shows which witnesses lag, and why"),
    # M: tools
    "OMG-M001": Code("tool server cannot be started", _U, "run its command by hand, then omega mcp tools NAME"),
    "OMG-M002": Code("tool server failed", _U, "see its last words in the details; omega doctor checks all servers"),
    "OMG-M003": Code("tool server hangs", _U, "raise the timeout of the step, or mend the server"),
    "OMG-M004": Code("tool description changed", _U, "compare and accept it on purpose: omega mcp tools NAME --accept"),
    "OMG-M005": Code("no such tool or server", _C, "omega mcp list and omega mcp tools NAME show what is known"),
    "OMG-M006": Code("tool answer does not fit its schema", _U, "report it to the server's author; nothing of the answer was used"),
    "OMG-M007": Code("tool reported an error", _U, "the details hold the tool's own message"),
    "OMG-M008": Code("model failed", _U, "try again later, raise the timeout or max_tokens, or go on without a model"),
    "OMG-M009": Code("no such model", _C, "omega call models.list shows what may be named"),
    "OMG-M010": Code("credentials for another host", _P, "say where the interface is served: --base https://HOST/PATH"),
    "OMG-M011": Code("no token for a tool server", _U, "sign in to the server again: omega mcp sign-in NAME"),
    "OMG-M012": Code("tool description gives orders", _U, "read it whole; if it is right all the same, say so: --trusting"),
    # P: processes and files
    "OMG-P001": Code("program not found", _C, "install it, or correct the command"),
    "OMG-P002": Code("program failed", _U, "the details hold its exit status and last words"),
    "OMG-P003": Code("program ran out of time", _U, "raise the timeout of the step"),
    "OMG-P004": Code("program printed too much", _U, "narrow its input, or raise the limit in the command"),
    "OMG-P005": Code("file cannot be read or written", _C, "check the path, its owner and the free space"),
    "OMG-P007": Code("effector failed", _U, "see what its target has done, and whether it can be reached"),
    "OMG-P008": Code("program used too much", _U, "have it use less, or ask for a larger plan; the details say which cap"),
    "OMG-P009": Code(
        "tool server cannot be confined", _C, "grant less, or let it run without on purpose: omega mcp sandbox NAME --no-sandbox"
    ),
    "OMG-P010": Code("webhook not delivered", _U, "mend the receiver, then omega redrive ID"),
    "OMG-P011": Code("address not allowed", _P, "name a public host, or allow the network on purpose: omega webhook add --allow"),
    # G: entrances over the network
    "OMG-G001": Code("request not understood", _C, "send well-formed HTTP, with a body as the operation's description says"),
    "OMG-G002": Code("nothing at this address", _C, "see /api/docs for what there is"),
    "OMG-G003": Code("method not allowed here", _C, "use a method that the header `allow` names"),
    "OMG-G004": Code("request too large", _C, "send less at once, or large data as a blob"),
    "OMG-G005": Code("request took too long to arrive", _C, "send the whole request without a pause"),
    "OMG-G006": Code("host or origin not allowed", _C, "use the address that omega up prints, or start it with --allow-host NAME"),
    "OMG-G007": Code("too many requests", _C, "wait as long as the header `retry-after` says"),
    "OMG-G008": Code("not taking requests", _O, "wait as long as the header `retry-after` says, then try again"),
    "OMG-G009": Code("media type not supported", _C, "send application/json, and accept it"),
    "OMG-G010": Code("idempotency key used for another request", _C, "use a new key for each different request"),
    "OMG-G011": Code("internal error", _O, "this is a fault in omega: report it with the request id of the answer"),
    "OMG-G012": Code("request of a client not accepted", _C, "the client has to be changed, or registered again: see docs/gateway.md"),
    # X: command line and host
    "OMG-X001": Code("command not understood", _C, "omega --help"),
    "OMG-X002": Code("model not available", _C, "set the environment variables of a provider, or go on without one"),
    "OMG-X003": Code("internal error", _O, "this is a fault in omega: report it with the command that led here"),
    "OMG-X010": Code("installation not reachable", _U, "see that it runs and that the address is right: omega doctor, on its machine"),
    "OMG-X011": Code("not signed in", _C, "omega login URL"),
}


def lacking(package: str) -> InputError:
    """What needs `package`, which comes with the extra `server`, says so (OMG-X001)."""
    return InputError("OMG-X001", f"{package} is not installed, and this needs it", advice="install the extra `server` of this package")
