"""`omega completion`: what a shell needs to complete commands, options and the names of what is here."""

from __future__ import annotations

import click

from omega.cli.output import Session, say

SHELLS = ("bash", "zsh", "fish")

PROGRAM = "omega"
VARIABLE = "_OMEGA_COMPLETE"
"""The variable by which a shell asks the program for completions; click looks at it whenever the program runs."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_obj
def completion(session: Session, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash   echo 'eval "$(omega completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(omega completion zsh)"' >> ~/.zshrc
    fish   omega completion fish > ~/.config/fish/completions/omega.fish
    """
    from click.shell_completion import get_completion_class

    from omega.cli.commands import app

    found = get_completion_class(shell)
    if found is not None:
        say(found(app, {}, PROGRAM, VARIABLE).source())
