"""Finding secrets in text by rules that are data (`rules/secrets.yaml`), and never repeating one.

A hit says which rule, where, how long, and shows at most the vendor's public prefix. Two occurrences of one token can be told to be
the same by a fingerprint: scrypt over the value, salted with the reviewed commit and the rule, cut to 32 bits. It is slow on purpose and
shown only for values that a machine made; passwords that people choose get none, because a short list of guesses would reveal them.

Checks: GitHub's and npm's tokens end in six characters that are the CRC-32 of the 30 before, in base 62; a JSON web token begins with
a JSON object that names an algorithm; values without a format of their own must look random (entropy, mixed classes, no words) and not like
a hash, a reference or a placeholder.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parent / "rules" / "secrets.yaml"

MIN_ENTROPY = 3.5
"""Bits a character below which a value is taken for words: English runs at about 3, random base 64 of 20 characters at about 4."""

MIN_TOKEN_ENTROPY = 2.2
"""The same for values that a vendor's format already singles out: only repeated filler falls below."""

MAX_HITS_A_FILE = 50
"""Hits kept in one file; a file with more is data (a list of test vectors) and one line would do."""

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SCRYPT = {"n": 1 << 12, "r": 8, "p": 1, "maxmem": 32 << 20, "dklen": 4}
_BEFORE, _AFTER = r"(?<![A-Za-z0-9_-])(?:", r")(?![A-Za-z0-9_-])"


@dataclass(frozen=True, slots=True)
class Rule:
    """One format: see the head of the rule file for each field."""

    id: str
    title: str
    keywords: tuple[str, ...]
    pattern: re.Pattern[str]
    severity: str
    keep: int
    check: str
    unchecked: str
    guessable: bool


@dataclass(frozen=True, slots=True)
class Allowed:
    """Patterns of values that are not secrets, by why they are not."""

    references: tuple[re.Pattern[str], ...]
    placeholders: tuple[re.Pattern[str], ...]
    words: tuple[re.Pattern[str], ...]
    hosts: tuple[re.Pattern[str], ...]
    hashes: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules, in the order of the file (a more exact rule comes first and wins), and a digest that names this version of them."""

    rules: tuple[Rule, ...]
    allowed: Allowed
    version: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One secret found: where (1-based line and column, `start` and `end` offsets), and what may be said about it."""

    rule: str
    title: str
    severity: str
    line: int
    column: int
    start: int
    end: int
    prefix: str
    length: int
    verified: bool
    guessable: bool
    value: str = field(repr=False)

    def fingerprint(self, salt: bytes) -> str:
        """Eight hex digits that tell equal values apart from others within one commit; empty for values that people choose."""
        if self.guessable:
            return ""
        return hashlib.scrypt(self.value.encode("utf-8", "surrogatepass"), salt=salt + b"\0" + self.rule.encode(), **_SCRYPT).hex()

    def message(self, salt: bytes) -> str:
        """One sentence that names the secret without repeating it."""
        shape = f": {self.prefix}…" if self.prefix else ""
        proof = ", checksum fits" if self.verified else ""
        mark = self.fingerprint(salt)
        return f"{self.title}{shape} ({self.length} characters{proof}{f', fingerprint {mark}' if mark else ''})"


@lru_cache(maxsize=4)
def load(path: Path = RULES) -> RuleSet:
    """The rule set in `path`. Raises ValueError when a rule is not well-formed."""
    text = path.read_bytes()
    data = yaml.safe_load(text)
    rules = tuple(_rule(entry) for entry in data["rules"])
    doubled = [name for name, count in Counter(rule.id for rule in rules).items() if count > 1]
    if doubled:
        raise ValueError(f"rule ids used twice: {', '.join(doubled)}")
    allowed = Allowed(**{kind: tuple(re.compile(one) for one in patterns) for kind, patterns in data["allow"].items()})
    return RuleSet(rules, allowed, f"{data['version']}.{len(rules)}.{hashlib.sha256(text).hexdigest()[:8]}")


def scan(text: str, rules: RuleSet) -> list[Hit]:
    """Every secret in `text`, in order of place; where rules overlap the first rule of the file wins."""
    lowered = text.lower()
    taken: list[tuple[int, int]] = []
    hits: list[Hit] = []
    for rule in rules.rules:
        if not any(keyword in lowered for keyword in rule.keywords):
            continue
        for hit in _hits(rule, text, rules.allowed):
            if not any(start < hit.end and hit.start < end for start, end in taken):
                taken.append((hit.start, hit.end))
                hits.append(hit)
                if len(hits) >= MAX_HITS_A_FILE:
                    return sorted(hits, key=lambda one: one.start)
    return sorted(hits, key=lambda one: one.start)


def redact(text: str, rules: RuleSet) -> str:
    """`text` with every secret in it replaced by what it is and how long it was."""
    pieces, at = [], 0
    for hit in scan(text, rules):
        pieces += [text[at : hit.start], f"[{hit.title}, {hit.length} characters]"]
        at = hit.end
    return "".join([*pieces, text[at:]])


def crc32_base62(random: str) -> str:
    """Six characters: the CRC-32 of `random` in base 62, zero padded, as GitHub appends it to a token."""
    number, digits = zlib.crc32(random.encode()), ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(6, "0")


def entropy(value: str) -> float:
    """Shannon entropy of the characters of `value`, in bits a character."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values()) if total else 0.0


def _rule(entry: Mapping[str, Any]) -> Rule:
    pattern = entry["pattern"] if entry.get("bounded") is False else f"{_BEFORE}{entry['pattern']}{_AFTER}"
    check, severity = entry.get("check", ""), entry["severity"]
    if check not in ("", *_CHECKS) or severity not in ("high", "medium", "low"):
        raise ValueError(f"rule {entry['id']}: check {check!r} or severity {severity!r} is not known")
    return Rule(
        entry["id"], entry["title"], tuple(word.lower() for word in entry["keywords"]), re.compile(pattern), severity, int(entry["keep"]),
        check, entry.get("unchecked", "drop"), bool(entry.get("guessable", False)),
    )  # fmt: skip


def _fits(value: str, patterns: tuple[re.Pattern[str], ...]) -> bool:
    return any(pattern.search(value) for pattern in patterns)


def _hits(rule: Rule, text: str, allowed: Allowed) -> Iterator[Hit]:
    for match in rule.pattern.finditer(text):
        group = "value" if "value" in rule.pattern.groupindex else 0
        value = match[group]
        severity, verified = _judge(rule, match, value, allowed)
        if not severity:
            continue
        start, end = match.span(group)
        line = text.count("\n", 0, start) + 1
        column = start - (text.rfind("\n", 0, start) + 1) + 1
        yield Hit(rule.id, rule.title, severity, line, column, start, end, value[: rule.keep], len(value), verified, rule.guessable, value)


def _judge(rule: Rule, match: re.Match[str], value: str, allowed: Allowed) -> tuple[str, bool]:
    """(severity or "" for no finding, whether a checksum proved it)."""
    if rule.check != "body" and _fits(value, allowed.placeholders):
        return "", False
    if rule.check in _NAMELESS and (_fits(value, allowed.words) or _fits(value, allowed.references)):
        return "", False
    if rule.check:
        return _CHECKS[rule.check](rule, match, value, allowed)
    return (rule.severity if entropy(value[rule.keep :]) >= MIN_TOKEN_ENTROPY else ""), False


def _check_crc32(rule: Rule, match: re.Match[str], value: str, _: Allowed) -> tuple[str, bool]:
    if crc32_base62(match["random"]) == value[-6:]:
        return rule.severity, True
    if entropy(match["random"]) < MIN_ENTROPY:
        return "", False
    return ("" if rule.unchecked == "drop" else "low"), False


def _check_jwt(rule: Rule, match: re.Match[str], value: str, _: Allowed) -> tuple[str, bool]:
    head = value.partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return "", False
    return (rule.severity if isinstance(decoded, dict) and "alg" in decoded else ""), False


def _check_entropy(rule: Rule, match: re.Match[str], value: str, allowed: Allowed) -> tuple[str, bool]:
    if _fits(value, allowed.hashes) or not _random_looking(value):
        return "", False
    return rule.severity, False


def _check_password(rule: Rule, match: re.Match[str], value: str, allowed: Allowed) -> tuple[str, bool]:
    host = match.groupdict().get("host") or ""
    if _fits(host, allowed.hosts) or set(value) & set("${}()<>%"):
        return "", False
    return rule.severity, False


def _check_password_mix(rule: Rule, match: re.Match[str], value: str, allowed: Allowed) -> tuple[str, bool]:
    """A chosen password in an assignment: letters, digits and a sign together, so that labels and sentences do not count."""
    classes = (any(c.isalpha() for c in value), any(c.isdigit() for c in value), any(not c.isalnum() and c not in "._-/:" for c in value))
    if not all(classes) or _fits(value, allowed.hashes) or "(" in value:
        return "", False
    return rule.severity, False


def _check_body(rule: Rule, match: re.Match[str], value: str, _: Allowed) -> tuple[str, bool]:
    body = re.sub(r"\\[nr]|[^A-Za-z0-9+/=]", "", value)
    return (rule.severity if len(body) >= MIN_KEY_BODY and entropy(body) >= MIN_ENTROPY else ""), False


MIN_KEY_BODY = 48
"""Base-64 characters in the smallest private key worth the name (an Ed25519 key in PKCS #8 has 64)."""

_CHECKS = {
    "crc32-base62": _check_crc32,
    "jwt": _check_jwt,
    "entropy": _check_entropy,
    "password": _check_password,
    "password-mix": _check_password_mix,
    "body": _check_body,
}

_NAMELESS = frozenset({"entropy", "password", "password-mix"})
"""Checks of values that no vendor's format singles out: they may just as well be a reference, or a short word by chance."""

_WORDS = re.compile(r"[A-Za-z][a-z]{3,}")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+")
_LONG_PARTS = 3.0
"""Mean length of the parts of one kind above which a value is a name (`Ed25519PrivateKey`): in random base 62 it is below two."""

_MOSTLY = 0.6
"""A value of which this share is made of words is a name (`my-cluster-access-token`), not a secret."""


def _random_looking(value: str) -> bool:
    body = value.rstrip("=")
    classes = sum((any(c.islower() for c in body), any(c.isupper() for c in body), any(c.isdigit() for c in body)))
    worded = sum(len(word) for word in _WORDS.findall(body))
    if worded >= _MOSTLY * len(body) or len(body) >= _LONG_PARTS * len(_PARTS.findall(body)):
        return False
    return classes >= 2 and any(c.isdigit() for c in body) and entropy(body) >= MIN_ENTROPY
