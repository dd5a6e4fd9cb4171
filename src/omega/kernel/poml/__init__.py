"""POML 2.0: the workflow as a document. Text in, values out; nothing here reads a file or imports what a document names.

    parse(text)         text      -> Document    every problem at once, with file, line, column and a suggestion
    to_flow(document)   Document  -> Flow        nodes become flows, joined and type-checked as in Python
    from_flow(flow)     Flow      -> Document    the other way, without loss
    format(text)        text      -> text        one layout, comments kept
    diff(a, b)          Documents -> changes     by structure

A document is YAML (so also JSON), read in a strict subset (`tree`). Its nodes are definitions: each stands under a name, and expressions
(`connect`) say how they are joined. An expression is a series-parallel graph, a node may hold expressions of its own, and nothing leads
back, so that a document of n lines is at most `reader.MAX_STEPS` steps however its nodes refer to each other.

The laws that hold it together, each a property test:

    format(format(t)) = format(t), and format keeps meaning and comments
    from_flow(to_flow(d)).text = d.text
    to_flow(from_flow(f)).digest = f.digest
    diff(d, d) = nothing
    parse of any text gives a Document or a DefinitionError with a place
"""

from omega.kernel.poml.build import Resolve, check, servers_of, to_flow
from omega.kernel.poml.compare import Change, diff, one_line
from omega.kernel.poml.document import SCHEMA_FILE, SCHEMA_VERSION, Document, Node, ToolServer, Typed
from omega.kernel.poml.layout import format
from omega.kernel.poml.problems import Problem, problems_of
from omega.kernel.poml.reader import parse
from omega.kernel.poml.rewrite import Refer, from_flow, reference

__all__ = [
    "SCHEMA_FILE",
    "SCHEMA_VERSION",
    "Change",
    "Document",
    "Node",
    "Problem",
    "Refer",
    "Resolve",
    "ToolServer",
    "Typed",
    "check",
    "diff",
    "format",
    "from_flow",
    "one_line",
    "parse",
    "problems_of",
    "reference",
    "servers_of",
    "to_flow",
]
