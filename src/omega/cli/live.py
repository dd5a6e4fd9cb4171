"""Watching a run: a tree that is redrawn on a terminal, one appended line per step elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import click

from omega.cli.output import clip, colourful, note, paint, plain, say, seconds
from omega.cli.tree import Node
from omega.runtime.world import Moment

REFRESH_PER_S = 8
MARGIN = 4
"""Lines of the terminal left free above a tree that is still growing."""

WIDTH = 32
"""Columns that the position of a step gets where lines are appended; a longer one loses its beginning."""
LONG_S = 2.0
"""Seconds after which a step that still runs is mentioned once, where nothing is redrawn."""
LOOK_S = 0.25

CHILD = "child"
STATES = {"ended": "done", "failed": "failed", "denied": "denied", "waiting": "waiting"}


class Screen:
    """What a run shows while it runs. `watch` is the callback for the engine; `started` and `execution` tell what it heard."""

    def __init__(self, header: Callable[[Moment], str], *, quiet: bool = False) -> None:
        """`header` makes the first line, from the moment of the start; `quiet` sends every line to standard error."""
        self.execution = ""
        self.began = time.monotonic()
        self.steps = 0
        self.recalled = 0
        self._header = header
        self._say = note if quiet else say
        self._flow = ""
        self._open: dict[str, float] = {}
        self._mentioned: set[str] = set()
        self._children: dict[str, str] = {}

    @property
    def started(self) -> bool:
        """Whether the gate let it in."""
        return bool(self.execution)

    def watch(self, moment: Moment) -> None:
        """Take in a moment."""
        if self.started and moment.execution != self.execution:
            self.child(moment)
        elif moment.kind == "started":
            self.execution, self._flow = moment.execution, moment.flow
            self._say(self._header(moment))
        elif moment.kind == "recalled":
            self.recalled += 1
        elif moment.kind == "paused":
            self.wait(moment)
        elif moment.kind == "part":
            self.part(moment)
        elif moment.kind in STATES or moment.kind == "began":
            self.steps += moment.kind == "ended"
            self.step(moment)

    def step(self, moment: Moment) -> None:
        """Show what became of a step: appended when it ended."""
        if moment.kind == "began":
            self._open[moment.position] = time.monotonic()
            return
        self._open.pop(moment.position, None)
        cells = _cells(moment)
        self._say(f"  {self.placed(moment.position):<{WIDTH}}  {cells[0]:<12}  {cells[1]:>9}  {paint(cells[2])}  {cells[3]}".rstrip())

    def child(self, moment: Moment) -> None:
        """A child that runs in this engine is one step of the run that is watched; what it does inside, `omega show` tells of it."""
        if moment.kind == "started":
            self._children[moment.execution] = moment.flow
            self._open[moment.execution] = time.monotonic()
        elif moment.kind == "finished" and moment.execution in self._children:
            took_s = time.monotonic() - self._open.pop(moment.execution)
            self.ended_child(moment.execution, self._children.pop(moment.execution), moment.note, took_s)

    def ended_child(self, execution: str, flow: str, status: str, took_s: float) -> None:
        """Show what became of a child: appended when it ended or stood still."""
        self._say(f"  {self.placed(flow):<{WIDTH}}  {CHILD:<12}  {seconds(took_s):>9}  {paint(status)}  {execution}")

    def wait(self, moment: Moment) -> None:
        """Mention a durable wait that has just begun; `took_s` is how long it will last."""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + moment.took_s))
        note(f"  ... {plain(moment.position)} waits until {until}")

    def part(self, moment: Moment) -> None:
        """A part of a stream: nothing where lines are appended, for the result comes whole."""

    def placed(self, position: str) -> str:
        """A position that fits its column: without the flow that all steps stand in, and without its beginning where it is longer."""
        short = plain(position.removeprefix(f"{self._flow}/"))
        return short if len(short) <= WIDTH else f"...{short[3 - WIDTH :]}"

    def mention(self) -> None:
        """One line for each step that has been running for long and was not mentioned before."""
        now = time.monotonic()
        for position, since in list(self._open.items()):
            if now - since >= LONG_S and position not in self._mentioned:
                self._mentioned.add(position)
                note(f"  ... {self.placed(self._children.get(position, position))} runs")

    def running(self) -> AbstractContextManager[Any]:
        """Stands around the run."""
        return self._mentioning()

    @contextmanager
    def _mentioning(self) -> Iterator[None]:
        """A thread looks for long steps, because a step may hold the event loop."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_S):
                self.mention()

        looking = threading.Thread(target=look, name="omega-long-steps", daemon=True)
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()


class TreeScreen(Screen):
    """The same as a tree on a terminal; what is running has a spinner."""

    def __init__(self, header: Callable[[Moment], str]) -> None:
        super().__init__(header)
        self._root = Node("")
        self._effects: dict[str, str] = {}
        self._parts: dict[str, str] = {}

    def step(self, moment: Moment) -> None:
        """Put the step into the tree; the next drawing shows it."""
        if moment.kind == "began":
            self._open[moment.position] = time.monotonic()
            self._effects[moment.position] = moment.effect
            self._root.put(moment.position, (moment.effect, "", "running", ""))
        else:
            self._open.pop(moment.position, None)
            self._root.put(moment.position, _cells(moment))

    def child(self, moment: Moment) -> None:
        """The same as a line of the tree, by its id."""
        super().child(moment)
        if moment.execution in self._children:
            self._effects[moment.execution] = CHILD
            self._parts[moment.execution] = self._children[moment.execution]

    def ended_child(self, execution: str, flow: str, status: str, took_s: float) -> None:
        """Its line in the tree says how it stands."""
        self._root.put(execution, (CHILD, seconds(took_s), status, flow))

    def part(self, moment: Moment) -> None:
        """The newest part stands beside its step until that ends."""
        self._open.setdefault(moment.position, time.monotonic())
        self._effects.setdefault(moment.position, "pure")
        self._parts[moment.position] = moment.note

    def wait(self, moment: Moment) -> None:
        """A wait is drawn as a step that has not ended."""
        until = time.strftime("%H:%M:%S", time.localtime(time.time() + moment.took_s))
        self._root.put(moment.position, ("", "", "waiting", f"until {until}"))

    def running(self) -> AbstractContextManager[Any]:
        """Draw while the run runs; what stands at its end is printed once, as ordinary lines."""
        return _Drawing(self)

    def drawn(self, frame: str = "") -> list[str]:
        """The tree as lines; `frame` is the present picture of the spinner."""
        now = time.monotonic()
        for position, since in self._open.items():
            effect = self._effects[position]
            said = clip(plain(self._parts.get(position, ""))) if frame else ""
            self._root.put(position, (effect, seconds(now - since) if frame else "", "running" if frame else "interrupted", said))
        rows = list(self._root.lines())
        width = max((len(label) for label, _ in rows), default=0)
        return [_line(label, width, cells, frame) for label, cells in rows]


class _Drawing:
    def __init__(self, screen: TreeScreen) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        self._screen = screen
        self._spinner = Spinner("line")
        self._console = Console(highlight=False, soft_wrap=True)
        self._text = Text
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=REFRESH_PER_S, transient=True)

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)
        for line in self._screen.drawn():
            say(line)

    def _render(self) -> Any:
        frame = str(self._spinner.render(time.monotonic()))
        lines = self._screen.drawn(frame)
        room = max(3, self._console.height - MARGIN)
        if len(lines) > room:
            lines = [f"  ... {len(lines) - room} lines above", *lines[-room:]]
        return self._text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")


def screen_for(header: Callable[[Moment], str], *, quiet: bool) -> Screen:
    """The screen that fits where the output goes."""
    return TreeScreen(header) if not quiet and colourful_terminal() else Screen(header, quiet=quiet)


def colourful_terminal() -> bool:
    """Whether a tree can be redrawn: on a terminal that moves its cursor. NO_COLOR takes the colours away, not the tree."""
    import os

    return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")


def _cells(moment: Moment) -> tuple[str, str, str, str]:
    took = seconds(moment.took_s) if moment.kind in ("ended", "failed") else ""
    return moment.effect, took, STATES[moment.kind], plain(moment.note)


def _line(label: str, width: int, cells: Any, frame: str) -> str:
    if not cells:
        return f"  {plain(label)}"
    effect, took, state, said = cells
    word = f"{frame} {state}" if state == "running" and frame else paint(state, 8)
    line = f"  {plain(label):<{width}}   {effect:<12} {took:>9}   {word}   {said}".rstrip()
    return line if colourful(sys.stdout) else click.unstyle(line)
