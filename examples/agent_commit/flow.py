"""An agent that wants to commit: reads the state of a repository, which it may, and commits, which the default policies deny agents.

    omega run examples/agent_commit --input repo=. --as agent:tidy

Run by the owner, without `--as`, the commit is made: try it on a scratch repository.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from omega import Context, flow, server, tool

servers = [server("git", ["mcp-server-git"])]

status = tool("git", "git_status")
commit = tool("git", "git_commit")


class Wish(BaseModel):
    """Which repository to commit to, and the message."""

    repo: str = "."
    message: str = "tidy up"


@flow(name="agent-commit", effect="read", needs="tools:call")
async def main(ctx: Context, wish: Wish) -> str:
    """Look at the repository, then commit what is staged."""
    seen: Any = await ctx.call(status, {"repo_path": wish.repo})
    done: Any = await ctx.call(commit, {"repo_path": wish.repo, "message": wish.message})
    return f"{seen}\n{done}"
