"""The parts of the description that are the same for every installation: problems, executions, outcomes, decisions."""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
PROBLEM = {"$ref": "#/components/schemas/Problem"}
EXECUTION = {"$ref": "#/components/schemas/Execution"}
EVENT = {"type": "object", "required": ["event", "data"], "properties": {"event": TEXT, "data": TEXT}}
NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 64}
OF_FIELD: dict[type, dict[str, Any]] = {
    str: {"type": "string", "maxLength": 256},
    bool: {"type": "boolean"},
    dict: {"type": "object"},
    object: {},
}
VERBS = {
    "cancel": "end it",
    "approve": "approve a step that waits for a person",
    "answer": "fill in the form that a step waits for",
    "resolve": "say what became of a step in doubt",
    "signal": "send it a value",
}
LATER = {"$ref": "#/components/schemas/Later"}
OUTCOME = {"$ref": "#/components/schemas/Outcome"}
DECIDED = {"type": "object", "required": ["execution", "decided"], "properties": {"execution": TEXT, "decided": TEXT}}
SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "problem details (RFC 9457) with a stable code, whose turn it is, and what to do",
        "required": ["type", "title", "status", "detail", "code", "advice", "whose"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "code": {"type": "string", "pattern": "^OMG-[A-Z][0-9]{3}$"},
            "advice": TEXT,
            "whose": {"enum": ["caller", "policy", "flow", "upstream", "omega"]},
            "details": {"type": "object"},
            "instance": TEXT,
        },
    },
    "Later": {
        "type": "object",
        "required": ["execution", "status", "outcome"],
        "properties": {"execution": TEXT, "status": TEXT, "waits_for": PROBLEM, "outcome": TEXT},
    },
    "Outcome": {
        "type": "object",
        "required": ["execution", "status"],
        "properties": {"execution": TEXT, "status": TEXT, "value": {}, "error": PROBLEM, "cost_micros": {"type": "integer"}},
    },
    "Execution": {
        "type": "object",
        "required": ["execution", "flow", "version", "status", "principal", "started", "updated"],
        "properties": {
            **dict.fromkeys(("execution", "tenant", "flow", "version", "status", "principal", "target", "queue", "key", "parent"), TEXT),
            **dict.fromkeys(("origin", "due", "code"), TEXT),
            "interrupted": {"type": "boolean"},
            "started": {"type": "string", "format": "date-time"},
            "updated": {"type": "string", "format": "date-time"},
            "took_s": {"type": "number"},
            "priority": {"type": "integer"},
            "tries": {"type": "integer"},
            "policies": {"type": "array", "items": TEXT},
            "labels": {"type": "object", "additionalProperties": TEXT},
        },
    },
}
