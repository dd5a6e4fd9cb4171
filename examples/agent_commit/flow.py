"""An agent that wants to commit: reads the state of a repository, which it may, and commits, which the default policies deny agents.

    omega run examples/agent_commit --input repo=. --as agent:tidy

Run by the owner, without `--as`, the commit is made: try it on a scratch repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from omega import Context, flow, server, tool

servers = [server("git", ["mcp-server-git"])]

status = tool("git", "git_status", folder="repo_path")
commit = tool("git", "git_commit", folder="repo_path")


def absolute(path: str) -> str:
    """The folder as whoever starts the run means it: the server has a working folder of its own, and a resumed run another one."""
    return str(Path(path).expanduser().absolute())


class Wish(BaseModel):
    """Which repository to commit to, and the message."""

    repo: Annotated[str, AfterValidator(absolute)] = Field(default=".", validate_default=True)
    message: str = "tidy up"


@flow(name="agent-commit")
async def main(ctx: Context, wish: Wish) -> str:
    """Look at the repository, then commit what is staged. It touches nothing itself, so it declares no effect: each call is gated."""
    seen: Any = await ctx.call(status, {"repo_path": wish.repo})
    done: Any = await ctx.call(commit, {"repo_path": wish.repo, "message": wish.message})
    return f"{seen}\n{done}"
