"""A private, inert copy of one commit: what every analyser reads, and all that it can reach.

Theory. The repository under review is not trusted: its configuration can name programs (hooks, filters, fsmonitor, diff drivers), its
attributes can switch them on or hide files from a diff, its links can point anywhere. So its work tree is never entered and its
configuration is read by one command only (`git rev-parse`, which runs nothing). A new repository is made in the system's folder for
temporary files; it borrows the objects of the original (Git's `alternates`), has a configuration of our own, and forces attributes of
our own on every file: bytes are checked out exactly as stored, links as small text files, submodules not at all. The original may be bare,
shallow or read-only; nothing is written to it, ever.

    <temporary folder>/omega-code-review-<uid>/<key>/     mode 700, owned by us, checked each time
        repo/            the checkout, HEAD detached at the pinned commit
        alias/           copies of Python files whose names no program should be handed, under harmless names
        manifest.json    every file of the commit: shown name, where its bytes are, size, kind
        ready.json       written last: the workspace is whole

`ensure` is idempotent: it finds the workspace of a key or makes it again, under a lock. `remove` is too.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from code_review import paths

WINDOW = 20
"""Commits looked back when the caller names none: about a week of a busy project."""

MAX_FILES = 20_000
"""Files handed to analysers; more would not finish within the time limit of a step."""

MAX_FILE_BYTES = 1 << 20
"""Largest file analysed: a larger one is generated or data, and costs analysers minutes."""

MAX_CHECKOUT_BYTES = 64 << 20
"""Largest file checked out; the diff reads larger ones from the object store."""

MAX_TREE_BYTES = 4 << 30
"""Largest commit reviewed, in bytes of all its files together: a temporary folder must hold it."""

MAX_IDS = 30
"""Commits whose ids are kept for reading the log."""

MAX_SKIPS_LISTED = 200
"""Skipped files named one by one; all of them are counted."""

MAX_DIFF_BYTES = 8 << 20
"""Largest diff asked of the tool: half of what one answer of a tool server may hold, because JSON makes text longer."""

KEEP_S = 7 * 24 * 3600
"""Seconds after which the workspace of a run that never ended is dropped."""

GIT_TIMEOUT_S = 120.0
SNIFF_BYTES = 8_000
"""Bytes looked at for a NUL, as Git itself does to tell binary from text."""

_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never", "-c", "advice.detachedHead=false")

_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = false
\tfilemode = true
\tsymlinks = false
\tautocrlf = false
\tsafecrlf = false
\tquotePath = true
\tprecomposeUnicode = false
\thooksPath = /dev/null
\tfsmonitor = false
\tuntrackedCache = false
\tbigFileThreshold = 1m
\tattributesFile = /dev/null
\texcludesFile = /dev/null
[color]
\tui = false
[diff]
\tnoprefix = false
\tmnemonicPrefix = false
\tsrcPrefix = a/
\tdstPrefix = b/
\trenames = false
\talgorithm = myers
\tindentHeuristic = true
\tsubmodule = short
\tignoreSubmodules = all
\tinterHunkContext = 0
\torderFile = /dev/null
\trelative = false
[submodule]
\trecurse = false
[protocol]
\tallow = never
[gc]
\tauto = 0
[maintenance]
\tauto = false
[log]
\tshowSignature = false
"""

_ATTRIBUTES = "* -text -filter -ident -working-tree-encoding !eol !diff !merge\n"
"""Stronger than any `.gitattributes` of the commit: no conversion on checkout, nothing kept out of the diff."""

_LANGUAGES = {
    "c": "C", "h": "C", "cc": "C++", "cpp": "C++", "cxx": "C++", "hpp": "C++", "cs": "C#", "css": "CSS", "go": "Go", "html": "HTML",
    "java": "Java", "js": "JavaScript", "cjs": "JavaScript", "mjs": "JavaScript", "jsx": "JavaScript", "json": "JSON", "kt": "Kotlin",
    "md": "Markdown", "php": "PHP", "py": "Python", "pyi": "Python", "rb": "Ruby", "rs": "Rust", "rst": "reStructuredText", "sh": "Shell",
    "bash": "Shell", "sql": "SQL", "swift": "Swift", "toml": "TOML", "ts": "TypeScript", "tsx": "TypeScript", "yaml": "YAML", "yml": "YAML",
}  # fmt: skip


class Refused(Exception):
    """The repository cannot be reviewed: `kind` is a stable word, `cause` one sentence, `advice` a next step."""

    def __init__(self, kind: str, cause: str, advice: str) -> None:
        super().__init__(cause)
        self.kind, self.cause, self.advice = kind, cause, advice


@dataclass(frozen=True, slots=True)
class Source:
    """The repository under review: its objects and, when shallow, the file that says where history stops."""

    objects: str
    shallow: str
    bare: bool
    head: str
    branch: str


def ensure(*, repo: str, since: str, key: str, commit: str = "") -> dict[str, Any]:
    """The facts of the workspace `key` for `repo`, made now if it is not there.

    `commit` pins a commit already chosen (hex id); empty pins HEAD. `since` is a revision, empty for the default window. Gives what
    `ready.json` holds. Raises Refused.
    """
    with _locked(key) as folder:
        ready = folder / "ready.json"
        if ready.is_file():
            facts: dict[str, Any] = json.loads(ready.read_text("utf-8"))
            if not commit or facts["commit"] == commit:
                return facts
        _sweep(folder.parent)
        return _make(folder, _inspect(repo, commit), since)


def remove(key: str) -> bool:
    """Remove the workspace `key`; gives whether there was one."""
    with _locked(key) as folder:
        there = folder.exists()
        shutil.rmtree(folder, ignore_errors=True)
        return there


def manifest(scratch: Path) -> list[dict[str, Any]]:
    """Every file of the pinned commit, in byte order of names: `path` (shown), `file` (relative to `scratch`), `size`, `kind`."""
    files: list[dict[str, Any]] = json.loads((scratch / "manifest.json").read_text("utf-8"))
    return files


def git(folder: Path, *arguments: str | bytes, accept: tuple[int, ...] = (0,), stdin: bytes = b"", home: str = "") -> bytes:
    """Run Git in `folder` with nothing of ours or theirs that could start a program; gives its output. Raises Refused.

    `home` lets Git read the caller's own configuration: only for the first look at a repository, because Git refuses a repository
    that belongs to somebody else unless that configuration trusts it.
    """
    try:
        done = subprocess.run(
            [_program("git"), *_SAFE, *arguments],
            cwd=folder, env=_environment(home), input=stdin, capture_output=True, timeout=GIT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Refused("git-timeout", f"git took more than {GIT_TIMEOUT_S:.0f} s", "try a smaller repository or a local disk") from error
    if done.returncode not in accept:
        words = paths.one_line(done.stderr.decode("utf-8", "replace"), 300)
        raise Refused("git-failed", f"git {_verb(arguments)} failed: {words}", "run git fsck in the repository")
    return done.stdout


def diff(checkout: Path, base: str) -> str:
    """The diff from `base` to the pinned commit, without context lines; bytes that are not UTF-8 replaced. Raises Refused."""
    return _raw_diff(checkout, base).decode("utf-8", "replace")


def _raw_diff(checkout: Path, base: str) -> bytes:
    return git(checkout, "diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--unified=0", base, "HEAD")


def _diff_problem(checkout: Path, base: str) -> str:
    """Why a tool that answers in JSON cannot carry the diff, or empty: a server that fails to encode an answer may never answer."""
    text = _raw_diff(checkout, base) if base else b""
    if len(text) > MAX_DIFF_BYTES:
        return f"the diff is larger than {MAX_DIFF_BYTES >> 20} MiB"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "the diff is not UTF-8"
    return ""


def _sweep(root: Path) -> None:
    """Drop workspaces of runs that were given up; a run that comes back after all makes its own again."""
    oldest = time.time() - KEEP_S
    for folder in root.iterdir():
        with suppress(FileNotFoundError):
            if folder.lstat().st_mtime < oldest:
                shutil.rmtree(folder, ignore_errors=True) if folder.is_dir() else folder.unlink()


def _make(folder: Path, source: Source, since: str) -> dict[str, Any]:
    """Build the workspace from nothing; after a failure nothing of it is left."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
        facts = _build(folder, source, since)
        (folder / "ready.json").write_text(json.dumps(facts), "utf-8")
    except Refused:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        cause = f"the private copy cannot be written: {error.strerror}"
        raise Refused("no-scratch", cause, "free some space, or set TMPDIR to a folder that has it") from error
    return facts


def _inspect(repo: str, commit: str) -> Source:
    where = Path(repo)
    if "\n" in os.path.realpath(repo):
        raise Refused("path-not-usable", "the repository's path holds a line break", "move the repository to a plain path")
    if not where.is_dir():
        raise Refused("no-such-path", f"no folder {paths.one_line(repo, 200)!r}", "give the path of a Git repository: --input repo=PATH")
    home = os.environ.get("HOME", "")
    try:
        found = git(where, "rev-parse", "--is-bare-repository", "--git-path", "objects", "--git-path", "shallow", home=home)
    except Refused as error:
        raise _not_usable(error, repo) from error
    bare, objects, shallow = (os.fsdecode(line) for line in found.split(b"\n")[:3])
    absolute = [os.path.normpath(where.resolve() / part) for part in (objects, shallow)]
    wanted = f"{commit or 'HEAD'}^{{commit}}"
    head = git(where, "rev-parse", "--verify", "--quiet", "--end-of-options", wanted, accept=(0, 1, 128), home=home).decode().strip()
    if not head:
        raise Refused("no-commit", "the repository has no commit to review", "commit something first")
    branch = git(where, "symbolic-ref", "--quiet", "--short", "HEAD", accept=(0, 1, 128), home=home).strip()
    return Source(absolute[0], absolute[1] if Path(absolute[1]).is_file() else "", bare == "true", head, paths.shown(branch))


def _not_usable(error: Refused, repo: str) -> Refused:
    if "dubious ownership" in error.cause:
        advice = "if you trust it: git config --global --add safe.directory PATH"
        return Refused("foreign-owner", f"{paths.one_line(repo, 200)!r} belongs to another user", advice)
    if "not a git repository" in error.cause:
        advice = "give the path of a Git repository: --input repo=PATH"
        return Refused("not-a-repository", f"{paths.one_line(repo, 200)!r} is not a Git repository", advice)
    return error


def _build(folder: Path, source: Source, since: str) -> dict[str, Any]:
    checkout = folder / "repo"
    _start_repository(checkout, source)
    base = _base(checkout, since, shallow=bool(source.shallow))
    entries = list(_entries(git(checkout, "ls-tree", "-r", "-z", "-l", "--full-tree", source.head)))
    total = sum(size for _, _, size, _ in entries)
    if total > MAX_TREE_BYTES:
        raise Refused(
            "too-large", f"the commit holds {total >> 20} MiB, the limit is {MAX_TREE_BYTES >> 20}", "review a smaller repository"
        )
    _check_out(checkout, source.head, [name for _, _, size, name in entries if size > MAX_CHECKOUT_BYTES])
    files = [_describe(folder, number, *entry) for number, entry in enumerate(entries)]
    (folder / "manifest.json").write_text(json.dumps(files), "utf-8")
    return {
        "scratch": str(folder),
        "since_given": since,
        "commit": source.head,
        "ids": git(checkout, "rev-list", f"--max-count={min(MAX_IDS, base.commits)}", "HEAD").decode().split(),
        "branch": source.branch,
        "bare": source.bare,
        "shallow": bool(source.shallow),
        "submodules": sum(1 for file in files if file["kind"] == "submodule"),
        "languages": dict(sorted(_languages(files).items(), key=lambda item: (item[0] == "other", -item[1], item[0]))),
        "files": len(files),
        "bytes": total,
        "kinds": dict(sorted(Counter(file["kind"] for file in files).items())),
        "diff_problem": _diff_problem(checkout, base.base),
        **asdict(base),
        **_skips(files),
    }


@dataclass(frozen=True, slots=True)
class Base:
    """What the pinned commit is compared with: `base` an object id (commit or empty tree, empty: nothing to compare with),
    `commits` how many commits lie between, `since` the words for it, `note` what a reader should know."""

    base: str
    since: str
    commits: int
    note: str


def _base(checkout: Path, since: str, *, shallow: bool) -> Base:
    if since:
        return _named_base(checkout, since)
    line = git(checkout, "rev-list", "--first-parent", f"--max-count={WINDOW + 1}", "HEAD").decode().split()
    if len(line) > WINDOW:
        return Base(line[-1], f"HEAD~{WINDOW}", _count(checkout, f"{line[-1]}..HEAD"), "")
    if not shallow:
        empty = git(checkout, "hash-object", "-w", "-t", "tree", "--stdin").decode().strip()
        note = "the history is shorter than the window, so every line counts as changed"
        return Base(empty, "the beginning", _count(checkout, "HEAD"), note)
    if len(line) > 1:
        return Base(
            line[-1], f"HEAD~{len(line) - 1}", _count(checkout, f"{line[-1]}..HEAD"), "the clone is shallow: older history is not here"
        )
    return Base("", "", 1, "the clone is shallow and holds one commit: what changed is not known, and nothing is ranked by change")


def _named_base(checkout: Path, since: str) -> Base:
    advice = "name a commit, tag or branch of the repository: --input since=REV"
    label = paths.one_line(since, 100)
    named = (
        git(checkout, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}", accept=(0, 1, 128)).decode().strip()
    )
    if not named:
        raise Refused("no-such-revision", f"{label!r} names no commit of the repository", advice)
    common = git(checkout, "merge-base", named, "HEAD", accept=(0, 1)).decode().split()
    if not common:
        raise Refused("unrelated", f"{label!r} shares no history with HEAD", advice)
    note = "" if common[0] == named else "compared with the commit where the two lines of history parted"
    return Base(common[0], label, _count(checkout, f"{common[0]}..HEAD"), note)


def _count(checkout: Path, span: str) -> int:
    return int(git(checkout, "rev-list", "--count", span))


def _start_repository(checkout: Path, source: Source) -> None:
    objects = ["--object-format=sha256"] if len(source.head) == len("0" * 64) else []
    git(checkout.parent, "init", "--quiet", "--template=", *objects, str(checkout))
    inner = checkout / ".git"
    config = _CONFIG
    if objects:
        config = config.replace("version = 0", "version = 1") + "[extensions]\n\tobjectFormat = sha256\n"
    (inner / "config").write_text(config, "utf-8")
    (inner / "info").mkdir(exist_ok=True)
    (inner / "info" / "attributes").write_text(_ATTRIBUTES, "utf-8")
    (inner / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (inner / "objects" / "info" / "alternates").write_bytes(_alternate(source.objects))
    if source.shallow:
        shutil.copyfile(source.shallow, inner / "shallow")
    _copy_names(checkout, source)
    (inner / "HEAD").write_text(source.head + "\n", "ascii")


def _copy_names(checkout: Path, source: Source) -> None:
    """Copy branches, tags and remote branches as packed refs, so that `since` may use their names; the original is only read."""
    kinds, home = ("refs/heads", "refs/tags", "refs/remotes"), os.environ.get("HOME", "")
    listed = git(Path(source.objects).parent, "for-each-ref", "--format=%(objectname) %(refname)", *kinds, home=home)
    (checkout / ".git" / "packed-refs").write_bytes(b"# pack-refs with:\n" + listed)


def _alternate(objects: str) -> bytes:
    """One line of `objects/info/alternates`; a name that begins with a quote or a hash sign must be C-quoted."""
    name = os.fsencode(objects)
    quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return (b'"' + quoted + b'"\n') if name[:1] in b'"#' else name + b"\n"


def _check_out(checkout: Path, commit: str, huge: list[bytes]) -> None:
    git(checkout, "read-tree", commit)
    if huge:
        git(checkout, "update-index", "-z", "--skip-worktree", "--stdin", stdin=b"\0".join(huge) + b"\0")
    git(checkout, "checkout-index", "--all", "--force", "--quiet", "--index", accept=(0, 1, 128))


def _entries(listing: bytes) -> Iterator[tuple[str, str, int, bytes]]:
    """(mode, type, size in bytes, name) of `git ls-tree -r -z -l`."""
    for record in listing.split(b"\0")[:-1]:
        head, _, name = record.partition(b"\t")
        mode, kind, _, size = head.decode("ascii").split()
        yield mode, kind, int(size) if size != "-" else 0, name


def _describe(folder: Path, number: int, mode: str, kind: str, size: int, name: bytes) -> dict[str, Any]:
    path = paths.shown(name)
    target = folder / "repo" / os.fsdecode(name)
    what = _kind(target, mode, kind, size, name)
    file = f"repo/{path}"
    if what in ("python", "text") and not paths.plain(path):
        file = f"alias/{number:06}{'.py' if what == 'python' else ''}"
        (folder / "alias").mkdir(exist_ok=True)
        shutil.copyfile(target, folder / file)
    return {"path": path, "file": file, "size": size, "kind": what}


def _kind(target: Path, mode: str, kind: str, size: int, name: bytes) -> str:
    if kind == "commit":
        return "submodule"
    if mode == "120000":
        return "link"
    if size > MAX_FILE_BYTES:
        return "huge"
    try:
        if not stat.S_ISREG(target.lstat().st_mode):
            return "unreadable"
        with target.open("rb") as file:
            head = file.read(SNIFF_BYTES)
    except OSError:
        return "unreadable"
    if b"\0" in head:
        return "binary"
    return "python" if name.endswith((b".py", b".pyi")) else "text"


_REASONS = {
    "binary": "binary",
    "huge": f"larger than {MAX_FILE_BYTES >> 10} KiB",
    "link": "symbolic link, not followed",
    "submodule": "submodule, not fetched",
    "unreadable": "could not be checked out",
}


def _skips(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Files that no analyser reads, with the reason: the first of them by name, all of them as a count."""
    skipped = [{"path": file["path"], "reason": _REASONS[file["kind"]]} for file in files if file["kind"] in _REASONS]
    readable = [file for file in files if file["kind"] not in _REASONS]
    skipped += [{"path": file["path"], "reason": f"beyond the first {MAX_FILES} files"} for file in readable[MAX_FILES:]]
    return {"skipped": skipped[:MAX_SKIPS_LISTED], "skipped_total": len(skipped)}


def _languages(files: list[dict[str, Any]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for file in files:
        if file["kind"] in ("python", "text"):
            suffix = file["path"].rpartition("/")[2].rpartition(".")
            counted[_LANGUAGES.get(suffix[2].lower(), "other") if suffix[1] else "other"] += 1
    return counted


def _environment(home: str) -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home or "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        **({} if home else {"GIT_CONFIG_GLOBAL": "/dev/null"}),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ATTR_NOSYSTEM": "1",
    }


def _program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise Refused("no-git", "git is not installed", "install git")
    return found


def _verb(arguments: tuple[str | bytes, ...]) -> str:
    return os.fsdecode(arguments[0]) if arguments else ""


def _root() -> Path:
    """The folder that holds all workspaces, ours alone: another user could otherwise plant links in the shared temporary folder."""
    root = Path(tempfile.gettempdir()) / f"omega-code-review-{os.getuid()}"
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        found = root.lstat()
    except OSError as error:
        raise Refused("no-scratch", f"no temporary folder can be made: {error.strerror}", "set TMPDIR to a folder you own") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Refused("no-scratch", f"{root} is not a private folder of yours", "remove it, or set TMPDIR to a folder you own")
    return root


@contextmanager
def _locked(key: str) -> Iterator[Path]:
    if not key or not all(c.isalnum() or c in "-_" for c in key):
        raise Refused("bad-key", "a workspace key is letters, digits, dashes and underscores", "choose another execution id")
    root = _root()
    lock = os.open(root / f"{key}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root / key
    finally:
        if not (root / key).exists():
            (root / f"{key}.lock").unlink(missing_ok=True)
        os.close(lock)
