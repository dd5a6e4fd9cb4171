"""Marks on types: which fields hold what must not be kept, and which name whom the data is about.

    class Patient(BaseModel):
        number: Annotated[str, SUBJECT]
        name: Annotated[str, SENSITIVE]

A mark is a keyword in the JSON Schema of the type and changes nothing else. Redaction takes out what is sensitive; erasure by subject finds
the executions whose input names it (docs/privacy.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mark:
    """A keyword for the schema of the field that is annotated with it."""

    keyword: str

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        """The schema of the field with the keyword in it (called by pydantic)."""
        return {**handler(core), self.keyword: True}


SENSITIVE = Mark("x-sensitive")
"""Marks a field whose value is taken out where content is redacted."""

SUBJECT = Mark("x-subject")
"""Marks a field that names whom the data is about: a customer number, an account, a person."""
