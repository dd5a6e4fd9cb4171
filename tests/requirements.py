"""What Omega promises, as data, bound both ways to the tests that prove it.

A test proves a promise by carrying its id:

    @pytest.mark.promise("RUN-01")
    def test_killed_run_resumes(): ...

`tests/repo/test_requirements.py` reads the marks from the source (no test is run for it) and fails when a promise has no test or a test
names a promise that is not here. A promise is one sentence about behaviour that a user could hold us to; how it is kept is not part of it.
An id is never reused; a promise that is withdrawn leaves a gap.

Areas: FLOW composing, POML documents, RUN durable running, GATE policy and permits, LOG the tamper-evident log, TRUST identity and keys, TOOL programs, files,
MCP and models, CLI the command line, EX the bundled examples, REPO the repository itself.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: its id (`AREA-NN`), one sentence, and the system (S01 ...) it belongs to."""

    id: str
    sentence: str
    system: str


# fmt: off
PROMISES: tuple[Promise, ...] = (
    # FLOW: what can be composed, and what is refused when it is written
    Promise("FLOW-01", "A decorated function with one annotated input and an annotated result is a flow: a value with name, version, types and effect.", "S01"),
    Promise("FLOW-02", "Called with a value outside any engine, a flow just runs, so that a test of it is a function call.", "S01"),
    Promise("FLOW-03", "Joining flows whose types do not fit fails on that line with an error that names both ends.", "S01"),
    Promise("FLOW-04", "A function that cannot be a flow is refused where it is decorated, with a coded error that says what is missing.", "S01"),
    Promise("FLOW-05", "The definition digest of a flow is stable across processes and changes when its shape, types, effect or version change.", "S01"),
    Promise("FLOW-06", "Flows are immutable: a combinator gives a new flow and leaves its parts as they were.", "S02"),
    Promise("FLOW-07", "a | b runs b on the result of a, and is associative.", "S02"),
    Promise("FLOW-08", "parallel gives all results in the order written, whatever order the branches finish in.", "S02"),
    Promise("FLOW-09", "race gives the first success, records the winner, and cancels the others; when every branch fails, each error is listed.", "S02"),
    Promise("FLOW-10", "when and switch run exactly one branch, by a pure flow or a CEL expression over the value.", "S02"),
    Promise("FLOW-11", "foreach keeps the order of its items and runs at most as many at a time as it was told.", "S02"),
    Promise("FLOW-12", "retry repeats pure, read and idempotent steps with a recorded back-off, and never repeats a write by itself.", "S02"),
    Promise("FLOW-13", "timeout ends a step that runs too long with a coded error, and the step's processes with it.", "S02"),
    Promise("FLOW-14", "fallback runs its other flow when the first failed, and never on cancellation or denial by policy.", "S02"),
    Promise("FLOW-15", "cached answers a pure step from an earlier result for the same input and code, and nothing but a pure step.", "S02"),
    Promise("FLOW-16", "A composite's effect is the strongest of its parts, and its needed capabilities are all of theirs.", "S02"),
    Promise("FLOW-17", "Rights and budgets only shrink on the way down: no child scope or budget exceeds its parent's.", "S03"),
    Promise("FLOW-18", "A value that cannot be stored is refused where it is returned, with the path of the offending part; nothing is pickled.", "S01"),
    Promise("FLOW-19", "Printing a flow draws it as a tree with types and effects.", "S01"),
    # POML: the workflow as a document
    Promise("POML-01", "A document and the flow it describes become each other without loss, byte for byte where the document was formatted.", "S04"),
    Promise("POML-02", "Every mistake in a document is told at once, with file, line, column, what was expected, and what was probably meant.", "S04"),
    Promise("POML-03", "Formatting a document is idempotent and keeps its comments, its order and its meaning.", "S04"),
    Promise("POML-04", "A document that would expand, nests too deep, or holds a million nodes is refused quickly; a way round is named.", "S04"),
    Promise("POML-05", "Whatever text is read as a document gives a document or a coded error with a place.", "S04"),
    Promise("POML-06", "A document holds secrets by reference only, and no error repeats one that was written into it.", "S04"),
    Promise("POML-07", "A workflow in POML has at least 40 % fewer lines than the same in plain Python.", "S04"),
    # RUN: durable running on one machine
    Promise("RUN-01", "After kill -9 at any moment, resume finishes the run and no durably recorded step runs again.", "S05"),
    Promise("RUN-02", "The simulator crashes the engine at every append of a flow that uses every combinator and effect, and the invariants hold.", "S05"),
    Promise("RUN-03", "The simulator finds a bug that was planted in the engine, so its silence means something.", "S05"),
    Promise("RUN-04", "Replay of a recorded run touches nothing, needs no network, and gives the identical result.", "S05"),
    Promise("RUN-05", "Resuming or replaying with a changed flow gives an error that names both steps with file and line.", "S05"),
    Promise("RUN-06", "A write whose fate a crash left unknown becomes in doubt: shown, never repeated, and settled by resolve.", "S05"),
    Promise("RUN-07", "The intent of a touch is durable before the touch, and its result is durable before anything that depends on it leaves.", "S05"),
    Promise("RUN-08", "Pure steps are written behind: a flow of pure steps costs far fewer commits than steps.", "S05"),
    Promise("RUN-09", "A batch is written whole or not at all: journal rows, log leaves, head and epoch check in one transaction.", "S05"),
    Promise("RUN-10", "A stale owner cannot append: every append carries its epoch and is refused when another has claimed the execution since.", "S05"),
    Promise("RUN-11", "A second engine on one data folder is refused and the refusal names the process that holds it.", "S05"),
    Promise("RUN-12", "Reading beside a live engine works from another process and never blocks it.", "S05"),
    Promise("RUN-13", "Cancelling ends the run, its branches and its child processes, and records that it was cancelled and by whom.", "S05"),
    Promise("RUN-14", "A deadline passed ends the step with a coded error; time a person takes to decide does not count.", "S05"),
    Promise("RUN-15", "No child process outlives the engine, however it ended.", "S05"),
    Promise("RUN-16", "Payloads are sealed at rest: no input, output or secret can be read from the data folder without its keys.", "S05"),
    Promise("RUN-17", "A data folder written by an earlier release opens, replays and verifies.", "S05"),
    Promise("RUN-18", "A data folder with a newer format is refused with advice, and left as it was.", "S05"),
    Promise("RUN-19", "A full or failing disk stops the engine with a coded error; everything acknowledged before is there afterwards.", "S05"),
    Promise("RUN-20", "A data folder that is missing, read-only, or not a folder gives a coded error with advice.", "S05"),
    Promise("RUN-21", "A corrupt journal is found and named; what is sound stays readable and nothing is overwritten.", "S05"),
    Promise("RUN-22", "Wall clocks that jump change neither the order of steps nor the result of replay.", "S05"),
    Promise("RUN-23", "Time, randomness and ids drawn through the context are recorded, so replay sees the same values.", "S05"),
    Promise("RUN-24", "Branches are opened by the context alone: a call from a foreign task is a coded error.", "S05"),
    Promise("RUN-25", "What resumes is checked against the sealed start record: another flow, input or target is refused.", "S05"),
    Promise("RUN-26", "Every store adapter passes the same conformance suite unchanged.", "S05"),
    Promise("RUN-27", "A budget is reserved before a touch and settled after it; a run never spends more than it was given by more than one call.", "S05"),
    # GATE: policy, limits, permits
    Promise("GATE-01", "Without a policy that permits, a call is denied, recorded and explained.", "S09"),
    Promise("GATE-02", "An error or a missing entity in policy evaluation is a denial that names the failing policy.", "S09"),
    Promise("GATE-03", "There is no call path to an effect without a permit.", "S09"),
    Promise("GATE-04", "A permit serves one touch of one step with one input in one process, and expires.", "S09"),
    Promise("GATE-05", "A forged, copied, pickled or foreign permit or verdict is refused.", "S09"),
    Promise("GATE-06", "Every decision carries the deciding policy id, its file and line, a reason, and the way to ask.", "S09"),
    Promise("GATE-07", "Adding a forbid never turns a denial into an allowance, and neither does narrowing a caller's capabilities.", "S09"),
    Promise("GATE-08", "A caller without a capability that the flow needs is denied, and the denial names the capability.", "S09"),
    Promise("GATE-09", "An agent may read with a tool and is denied its writes by the default policy.", "S09"),
    Promise("GATE-10", "An irreversible step waits for a person of the named role; nobody but an owner may approve what they asked for themselves.", "S09"),
    Promise("GATE-11", "Rate limits hold per tenant, principal and flow, in bounded memory, and clock jumps neither refund nor lock out.", "S09"),
    Promise("GATE-12", "A budget that is spent denies the next gated call with a coded error.", "S09"),
    Promise("GATE-13", "A policy file that does not parse, fails its schema or repeats an id is refused with file, line and advice.", "S09"),
    Promise("GATE-14", "Policies can be tested as data: policy check runs the cases and says which rules no case reached.", "S09"),
    Promise("GATE-15", "No pure step can get an effector, whatever it tries.", "S09"),
    Promise("GATE-16", "Only the warden mints permits and only trust mints scopes.", "S09"),
    # LOG: the tamper-evident record
    Promise("LOG-01", "With one checkpoint kept elsewhere, the stand-alone verifier finds every edit, drop, insertion, swap, truncation, rewrite and rollback.", "S10"),
    Promise("LOG-02", "The verifier is one file that runs without Omega and with no network.", "S10"),
    Promise("LOG-03", "Every gated decision and every outcome of a touch has a leaf that is durable with the journal rows it covers.", "S10"),
    Promise("LOG-04", "Inclusion and consistency proofs verify for every record and every pair of sizes, and fail for anything else.", "S10"),
    Promise("LOG-05", "Checkpoints are signed notes that an independent implementation can parse and verify.", "S10"),
    Promise("LOG-06", "Every digest in the log is a salted commitment: with its key destroyed it can neither be opened nor guessed, and proofs still verify.", "S10"),
    Promise("LOG-07", "An export that is truncated, oversized or not an export gives a coded answer, never a traceback.", "S10"),
    Promise("LOG-08", "Stored bytes are the canonical bytes: verification never re-serialises a record.", "S10"),
    Promise("LOG-09", "omega verify finds a changed byte in the data folder and says where.", "S10"),
    # TRUST: identity and keys
    Promise("TRUST-01", "A forged, expired, foreign, altered or algorithm-confused passport is refused without saying more than that.", "S08"),
    Promise("TRUST-02", "Delegation only narrows: a delegate never holds a right its delegator lacks, and chains have an end.", "S08"),
    Promise("TRUST-03", "A revoked passport is refused at the next gated call.", "S08"),
    Promise("TRUST-04", "Keys are made on first use, readable by their owner alone, and refused when others could read them.", "S08"),
    Promise("TRUST-05", "A sealed value opens only under its own execution's key and context; a changed byte is found.", "S08"),
    Promise("TRUST-06", "Two processes that make the key store at once end with one key store.", "S08"),
    # TOOL: programs, files, MCP servers, models
    Promise("TOOL-01", "Tools of an MCP server over stdio and streamable HTTP are flows with types and an effect taken from pinned annotations.", "S12"),
    Promise("TOOL-02", "A tool whose description changed since it was pinned is refused, with the difference.", "S12"),
    Promise("TOOL-03", "A tool server that hangs, on start or in a call, is ended after the timeout with a coded error.", "S12"),
    Promise("TOOL-04", "A tool server that crashes gives a coded error with its last words, and is started afresh for the next call.", "S12"),
    Promise("TOOL-05", "A tool answer that breaks its own schema is refused whole.", "S12"),
    Promise("TOOL-06", "A tool server that floods or prints garbage costs bounded memory and gives a coded error.", "S12"),
    Promise("TOOL-07", "A tool's arguments are checked against its pinned schema before anything is sent.", "S12"),
    Promise("TOOL-08", "A program runs without a shell, with a minimal environment, and is ended with all its descendants on timeout or cancellation.", "S05"),
    Promise("TOOL-09", "A program that is missing, fails, or prints too much gives a coded error.", "S05"),
    Promise("TOOL-10", "Files are written whole or not at all.", "S05"),
    Promise("TOOL-11", "Without a configured model, asking one is a typed error and no text is invented.", "S05"),
    Promise("TOOL-12", "Keys and tokens for tools and models appear in no log, journal or error.", "S12"),
    # CLI: the command line
    Promise("CLI-01", "run takes a file, module:flow, a folder or the name of an example, and key=value inputs checked against the flow's type.", "S20"),
    Promise("CLI-02", "Every command speaks JSON with --json, and nothing else on standard output.", "S20"),
    Promise("CLI-03", "Exit codes are documented and tell done, failed, denied, waiting, in doubt and not sound apart.", "S20"),
    Promise("CLI-04", "Every error on the command line has a code, a cause in one line, whose turn it is, and a next command.", "S20"),
    Promise("CLI-05", "show lists each step with status, effect, attempts, duration, cost and decision.", "S20"),
    Promise("CLI-06", "approve, cancel and resolve from another terminal reach a live run.", "S20"),
    Promise("CLI-07", "replay reports identical, or the first divergence by name.", "S20"),
    Promise("CLI-08", "policy check and policy explain say which rule decided and why.", "S20"),
    Promise("CLI-09", "mcp add, list and tools pin, show and compare tool descriptions.", "S20"),
    Promise("CLI-10", "doctor names what is missing or wrong on this machine and what to do about it.", "S20"),
    Promise("CLI-11", "Bad input on the command line never gives a traceback.", "S20"),
    # EX: the bundled examples
    Promise("EX-01", "The code review reads a pinned commit of a real repository through an MCP server and leaves the checkout untouched.", "S20"),
    Promise("EX-02", "The figures of the report agree with the analysers run by hand.", "S20"),
    Promise("EX-03", "Each analyser that cannot run degrades alone, and the report says so.", "S20"),
    Promise("EX-04", "The SARIF report is valid SARIF 2.1.0.", "S20"),
    Promise("EX-05", "The report of a killed and resumed run is byte-identical to an uninterrupted one, run data aside.", "S20"),
    Promise("EX-06", "No such repository, not a repository, empty, bare, shallow and one-commit repositories give a coded error or a report that says so.", "S20"),
    Promise("EX-07", "A repository with hostile names, hooks, filters or commit messages neither runs code nor steers the ranking nor breaks a report.", "S20"),
    Promise("EX-08", "The secret scan finds the documented token formats, spares placeholders, and never prints a secret.", "S20"),
    Promise("EX-09", "Binary and huge files are skipped and named with the reason.", "S20"),
    Promise("EX-10", "Without a model the summary is computed and says so; with one, references to unknown findings are removed.", "S20"),
    Promise("EX-11", "The HTML report is self-contained: no script, no outside resource, everything escaped.", "S20"),
    # REPO: the repository itself
    Promise("REPO-01", "import omega and omega --help take less than 0.3 s and load nothing heavy.", "S20"),
    Promise("REPO-02", "The base install is smaller than 100 MB.", "S20"),
    Promise("REPO-03", "The import contract holds: floors point down, neighbours do not touch, only adapters reach the world.", "S01"),
    Promise("REPO-04", "Nothing inside imports the facade.", "S01"),
    Promise("REPO-05", "Every promise has a test and every test names a known promise.", "S01"),
    Promise("REPO-06", "The snippets in the documentation run.", "S20"),
    Promise("REPO-07", "Every error code has a paragraph in the documentation, and every paragraph a code.", "S20"),
    Promise("REPO-08", "The lock pins every dependency by hash, names no address, and agrees with the pins in pyproject.toml.", "S20"),
    Promise("REPO-09", "The public surface of omega is explicit, sorted and committed.", "S01"),
    Promise("REPO-10", "README names exactly two commands to begin with, and the Makefile has them.", "S20"),
)

# fmt: on

BY_ID: dict[str, Promise] = {promise.id: promise for promise in PROMISES}
