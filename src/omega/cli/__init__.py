"""The command line: `omega COMMAND`. Embedded through the host; it parses and prints, and decides nothing itself.

Each command loads its own module on use, so that `omega --help` stays quick.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from omega.cli.commands import app
from omega.cli.exits import Exit
from omega.cli.output import Answer, Session, error_answer, note
from omega.kernel.errors import InputError, OmegaError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its status (see `omega.cli.exits`)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    status = run(given)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command, print its answer, and give the exit status. Nothing is raised for whatever the command meets."""
    session = Session(json=_wants_json(arguments), stream=sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr) if session.json else contextlib.nullcontext():
            answer = _answer(list(arguments), session)
        return answer.give(session) if isinstance(answer, Answer) else answer
    except BrokenPipeError:
        _drop_output()
        return Exit.DONE
    except KeyboardInterrupt:
        note("interrupted")
        return Exit.INTERRUPTED


def _answer(arguments: list[str], session: Session) -> Answer | int:
    """What the command says; every way in which it may fail becomes an answer too."""
    import click

    try:
        found = app.main(args=arguments, prog_name="omega", standalone_mode=False, obj=session)
    except click.exceptions.NoArgsIsHelpError as error:
        note(error.format_message())
        return Exit.USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "omega"
        return error_answer(InputError("OMG-X001", error.format_message().lower().rstrip("."), advice=f"{where} --help"), Exit.USAGE)
    except click.ClickException as error:
        return error_answer(InputError("OMG-X001", error.format_message()), Exit.USAGE)
    except click.Abort:
        raise KeyboardInterrupt from None
    except OmegaError as error:
        from omega.cli.exits import exit_of

        return error_answer(error, exit_of(error.record()), session.execution)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours: told in one line, never as a traceback that might hold values
        return _fault(error)
    return found if isinstance(found, (Answer, int)) else Exit.DONE


def _fault(error: Exception) -> Answer:
    if os.environ.get("OMEGA_DEBUG") == "1":
        import traceback

        note("".join(traceback.format_exception(error)).rstrip())
    wrapped = OmegaError(
        "OMG-X003", f"{type(error).__name__} in the command line", advice="run it again with OMEGA_DEBUG=1 and report what it prints"
    )
    return error_answer(wrapped, Exit.FAILED)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a program reads the answer: known before anything is parsed, because parsing may fail too."""
    mine = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return "--json" in mine


def _drop_output() -> None:
    """Whoever read standard output is gone: later writes, the interpreter's last flush too, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
