"""What a tool server over standard streams says beside its answers, in the types of the SDK: questions, log messages, notices of change.

The SDK is imported when the first of them comes, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from omega.adapters.mcp.company import Company

if TYPE_CHECKING:
    from mcp.client.context import ClientRequestContext
    from mcp_types import (
        CreateMessageRequestParams,
        CreateMessageResult,
        CreateMessageResultWithTools,
        ElicitRequestParams,
        ElicitResult,
        ErrorData,
        LoggingMessageNotificationParams,
    )
    from pydantic import TypeAdapter

CHANGED: Final[Mapping[str, str]] = {f"notifications/{kind}/list_changed": kind for kind in ("tools", "prompts", "resources")}
"""Notices that a list changed, with its kind."""

EVENTS: Final = {"ToolsListChanged": "tools", "PromptsListChanged": "prompts", "ResourcesListChanged": "resources"}
"""The same by the names of the SDK's events."""


@cache
def unfinished_or(result: type[Any]) -> TypeAdapter[Any]:
    """What reads a result of that type, or one that asks for more input first."""
    from mcp_types import InputRequiredResult
    from pydantic import TypeAdapter

    return TypeAdapter(cast("Any", InputRequiredResult | result))


class Asides:
    """Passes on to the clients of a conversation what its server says beside its answers."""

    def __init__(self, company: Company) -> None:
        self._company = company

    async def elicit(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        """A person's answer to a form."""
        from mcp_types import ElicitResult

        answer: ElicitResult | ErrorData = await self._asked("elicitation/create", params, ElicitResult)
        return answer

    async def sample(
        self, context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | CreateMessageResultWithTools | ErrorData:
        """A model's answer."""
        from mcp_types import CreateMessageResult, CreateMessageResultWithTools

        wanted = CreateMessageResultWithTools if params.tools else CreateMessageResult
        answer: CreateMessageResult | CreateMessageResultWithTools | ErrorData
        answer = await self._asked("sampling/createMessage", params, wanted)
        return answer

    async def log(self, params: LoggingMessageNotificationParams) -> None:
        """A log message."""
        guest = self._company.meant({})
        if guest is not None:
            await guest.tell("notifications/message", params.model_dump(mode="json", by_alias=True, exclude_unset=True))

    async def _asked(self, method: str, params: Any, answer: type[Any]) -> Any:
        from mcp_types import METHOD_NOT_FOUND, ErrorData
        from pydantic import ValidationError

        guest = self._company.meant({})
        try:
            if guest is None:
                raise LookupError("nobody is there to be asked")
            given = {} if params is None else params.model_dump(mode="json", by_alias=True, exclude_unset=True)
            return answer.model_validate(dict(await guest.ask(method, given)))
        except LookupError as error:
            return ErrorData(code=METHOD_NOT_FOUND, message=str(error.args[0]) if error.args else "the client cannot be asked")
        except ValidationError:
            return ErrorData(code=METHOD_NOT_FOUND, message="the client answered with something that is no answer by the protocol")
