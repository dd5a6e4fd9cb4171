"""An agent on the protocol's own Python library, for tests that need an agent elsewhere: `python sdk_a2a.py PORT rpc|rest|grpc`.

It repeats what it is told, and asks back when it is told `ask`.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from a2a.helpers.proto_helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part
from starlette.applications import Starlette


class Echo(AgentExecutor):
    """Repeats what it is told."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """One message."""
        assert context.message is not None and context.task_id is not None and context.context_id is not None
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        words = context.get_user_input()
        if words == "ask":
            await updater.requires_input(updater.new_agent_message([Part(text="what?")]))
            return
        await updater.add_artifact([Part(text=f"echo {words}")])
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End a task."""
        assert context.task_id is not None and context.context_id is not None
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def main(port: int, kind: str) -> None:
    """Serve; the card names the one binding that is wanted: `rpc`, `rest` or, before both, `grpc`."""
    url = f"http://127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        beside = f"127.0.0.1:{listening.getsockname()[1]}"
    interfaces = {"rpc": (url, "JSONRPC"), "rest": (f"{url}/rest", "HTTP+JSON"), "grpc": (beside, "GRPC")}
    chosen = [interfaces[kind]] if kind != "grpc" else [interfaces["grpc"], interfaces["rpc"]]
    card = AgentCard(
        name="Echo",
        description="repeats what it is told",
        version="1.0.0",
        supported_interfaces=[AgentInterface(url=at, protocol_binding=binding, protocol_version="1.0") for at, binding in chosen],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="echo", name="Echo", description="repeats", tags=["echo"])],
    )
    handler = DefaultRequestHandler(agent_executor=Echo(), task_store=InMemoryTaskStore(), agent_card=card)
    routes = [
        *create_agent_card_routes(agent_card=card),
        *create_jsonrpc_routes(request_handler=handler, rpc_url="/"),
        *create_rest_routes(request_handler=handler, path_prefix="/rest"),
    ]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="error"))
    asyncio.run(serve(server, handler, beside if kind == "grpc" else ""))


async def serve(server: uvicorn.Server, handler: DefaultRequestHandler, beside: str) -> None:
    """Over HTTP, and over gRPC where an address is given."""
    if beside:
        import grpc
        from a2a.server.request_handlers import GrpcHandler
        from a2a.types import a2a_pb2_grpc

        calls = grpc.aio.server()
        a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), calls)
        calls.add_insecure_port(beside)
        await calls.start()
    await server.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
