"""Prompt injection: text in a tool's result that gives orders to whoever reads it.

A tool answers with data, and a model reads data and orders alike. So results are searched for what orders look like. Each sign has a
weight: 2 for what data hardly ever says by accident, 1 for what is odd only beside something else. From SUSPICIOUS on it is a find.

Text is compared as a model would understand it: compatible letters are made one (NFKC), invisible ones left out, runs of space are one.
Invisible letters are a sign themselves, as are long stretches of Base64 that spell out such orders.

This finds the known and the clumsy. It does not make a hostile tool safe: what does is that an agent's rights, limits and approvals do not
depend on what it reads.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SUSPICIOUS = 2
"""Weight from which text is a find."""

MAX_SCANNED = 1 << 20
"""Longest text that is searched, in characters; a longer one is searched up to here, and being so long is noted by the caller."""

_ORDERS = r"(?:instructions?|prompts?|rules|directions|directives|guidelines|context|commands|messages)"
_EARLIER = r"(?:all|any|every|the|your|my|of|previous(?:ly)?|prior|earlier|above|preceding|given|existing|system|other|foregoing)"
_SECRETS = (
    r"(?:api[ _-]?keys?|passwords?|secrets?|access tokens?|credentials|private keys?|ssh keys?|system prompt|environment variables|"
    r"conversation(?: history)?|cookies|\.env\b)"
)
_DO = r"(?:send|post|upload|forward|e-?mail|transmit|leak|exfiltrate|submit|report|append|include|reveal|print|output|share)"
_KEYS = (
    r"(?:\.ssh\b(?!/(?:config|known_hosts|authorized_keys|[\w-]{1,60}\.pub)\b)|\bid_(?:rsa|dsa|ecdsa|ed25519)\b(?!\.pub\b)|\.aws/credentials|\.netrc\b|"
    r"\.kube/config|\bmcp\.json\b|\.pgpass\b|\.git-credentials\b|/etc/shadow\b)"
)
"""Files that hold credentials of whoever reads; halves of key pairs that are public, and settings beside keys, are none."""

_HANDED = (
    r"(?:it|its|them|their|this|that|what|everything|all of (?:it|them)|"
    r"the (?:whole |full |entire )?(?:file|contents?|text|key|keys|result|value)|"
    r"(?:whatever|anything) (?:it|they|is))\b"
)
"""What comes after a word such as `pass`, where something that was read is handed on."""

_HAND = rf"\b(?:{_DO}|pass|put|give|provide|fill(?: in)?|supply|attach|hand over) {_HANDED}"

_HOME = r"(?:~/|\$home/|\$\{home\}/|%userprofile%[\\/]|/root/|/home/[\w.-]{1,40}/)"
"""The folder of whoever reads: what lies there is theirs."""

_ITS_CONTENT = (
    r"\b(?:(?:its|their|that file's|this file's|the file's|whose) (?:(?:whole|full|entire|exact|raw|complete) )?(?:contents?|text)|"
    r"the (?:(?:whole|full|entire|exact|raw|complete) )?contents? of (?:it|that|this|the) ?(?:file|key)?|"
    r"(?:what|whatever|everything) (?:it|that file|the file) (?:says|holds|contains))\b"
)
"""What a file says, where the file was named before."""

_INTO = r"\b(?:set|assign|fill|pass|put|give|provide|supply|paste|insert|enter|use|let|make)\b"
_CONTENT_OF = r"\bcontents? (?:of|from|in)\b[^\n]{0,40}?"
_CONTENT_OF_FILE = r"\bcontents? of [^.\n]{0,40}?"
_TO_BE = (
    r"\b(?:must|should|shall|has to|have to|needs? to|is to|are to|will|always)\b[^.\n]{0,20}?"
    r"\b(?:be|contain|hold|carry|include|equal|have)\b"
)
"""An argument is told what it has to be."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One kind of order: its name, what it looks like in lower case, and how much it weighs.

    Without one of `hints` in the text there is no find; looking for those is far quicker than the pattern.
    """

    name: str
    pattern: re.Pattern[str]
    weight: int
    hints: tuple[str, ...]

    def found(self, text: str) -> bool:
        """Whether `text` (as `plain` gives it) has the sign."""
        for hint in self.hints:  # a loop takes half the time of `any` over a generator
            if hint in text:
                return self.pattern.search(text) is not None
        return False


def _sign(name: str, weight: int, hints: str, *patterns: str) -> Sign:
    return Sign(name, re.compile("|".join(patterns)), weight, tuple(hints.split(",")))


SIGNS: tuple[Sign, ...] = (
    _sign(
        "override",
        2,
        "ignore ,disregard ,forget ,override ,bypass ,skip ,not follow ,n't follow ,stop following ,instructions,prompt,orders",
        rf"\b(?:ignore|disregard|forget|override|bypass|skip|do not follow|don't follow|stop following) "
        rf"(?:{_EARLIER}[ ,]+){{1,5}}{_ORDERS}",
        r"\bforget (?:everything|all (?:of )?(?:that|this|the above)|what you were told)\b",
        r"\b(?:new|updated|revised|actual|real) (?:system )?(?:instructions|prompt|orders)\s*[:=]",
    ),
    _sign(
        "role",
        2,
        "<|,inst],<sys,</sys,#system,# system,#assistant,# assistant,#developer,# developer,<assistant,</assistant,<developer,</developer,"
        "you are now ,you are no longer ",
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id)[^|]{0,20}\|>",
        r"\[/?inst\]|<</?sys>>",
        r"(?:^|\n)\s*#{1,6} ?(?:system|assistant|developer)(?: (?:prompt|message|instructions?))?\s*:?\s*(?:\n|$)",
        r"</?(?:system|assistant|developer)(?:[_-](?:prompt|message|instructions?))?>",
        r"\byou are (?:now|no longer) (?:a|an|in|the|bound|dan|unrestricted|free|operating|acting)\b",
    ),
    _sign(
        "secrecy",
        2,
        "user,human,operator,developer,owner",
        r"\b(?:do not|don't|never|must not) (?:tell|mention|inform|alert|notify|reveal|disclose)(?: (?:this|it|any of this))?(?: to)? "
        r"(?:the |your )?(?:user|human|operator|developer|owner)\b",
        r"\bwithout (?:telling|informing|asking|alerting|notifying|mentioning (?:it|this) to) "
        r"(?:the |your )?(?:user|human|operator|owner)\b",
        r"\b(?:hide|conceal|keep) (?:this|it) (?:secret )?from (?:the |your )?(?:user|human|operator)\b",
    ),
    _sign(
        "exfiltration",
        2,
        "http,@, to ,id_rsa,~/.ssh,.aws,read ",
        rf"\b{_DO}\b[^.\n]{{0,80}}\b{_SECRETS}[^.\n]{{0,80}}"
        r"(?:https?://|@|\bto (?:the |this |my )?(?:url|server|address|endpoint|webhook))",
        rf"!\[[^\]]{{0,80}}\]\(https?://[^)\s]{{1,200}}[?&][^)\s]{{0,80}}=[^)\s]{{0,20}}(?:\{{|<|{_SECRETS})",
        rf"\bread\b[^.\n]{{0,60}}(?:{_SECRETS}|~/\.ssh|id_rsa|\.aws/credentials)[^.\n]{{0,60}}\b(?:and|then)\b[^.\n]{{0,30}}\b{_DO}\b",
    ),
    _sign(
        "credentials",
        2,
        ".ssh,id_rsa,id_dsa,id_ecdsa,id_ed25519,.aws/,.netrc,.kube/,mcp.json,.pgpass,.git-cred,/etc/shadow,.env",
        # a sentence may end between the two halves of it: "read the file first. Pass what it says in the field note."
        rf"\b(?:read|load|cat|fetch|contents? of)\b(?>[\s\S]{{0,60}}?{_KEYS})[\s\S]{{0,120}}?{_HAND}",
        rf"{_KEYS}[\s\S]{{0,120}}?{_INTO}[^.\n]{{0,40}}?{_ITS_CONTENT}",
        rf"{_TO_BE}[^.\n]{{0,40}}?{_CONTENT_OF}{_KEYS}",
        rf"\b(?:set|assign|fill|let|make)\b[^.\n]{{0,40}}?{_CONTENT_OF}{_KEYS}",
        rf"\b(?:paste|insert|enter|use)\b[^.\n]{{0,20}}?{_CONTENT_OF}{_KEYS}[^.\n]{{0,30}}?\b(?:as|in|into|for|under)\b",
        rf"{_CONTENT_OF}{_KEYS}[^.\n]{{0,30}}?\b(?:goes|go|belongs?|required|expected|mandatory)\b",
        rf"\bopen\b(?>[\s\S]{{0,60}}?{_KEYS})[\s\S]{{0,120}}?\b(?:pass|give|send|provide) {_HANDED}",
        rf"\bread\b[\s\S]{{0,60}}(?<![\w.])\.env\b(?![.\w-])[\s\S]{{0,120}}?\b(?:pass|give|provide|supply) {_HANDED}",
        rf"\b(?:pass|put|give|provide|fill in|include|send|append|supply|attach)\b[^.\n]{{0,40}}\bcontents? of\b[\s\S]{{0,40}}{_KEYS}",
    ),
    _sign(
        "home",
        2,
        "s content,content of ,contents of ",
        rf"\b(?:read|load|cat|fetch|open)\b(?>[\s\S]{{0,60}}?{_HOME})[\s\S]{{0,120}}?"
        rf"\b(?:set|assign|fill|pass|put)\b[^.\n]{{0,40}}?\b(?:its|file's) contents?\b",
        rf"{_TO_BE}[^.\n]{{0,40}}?{_CONTENT_OF_FILE}{_HOME}",
        rf"\b(?:set|assign|fill)\b[^.\n]{{0,40}}?{_CONTENT_OF_FILE}{_HOME}",
    ),
    _sign(
        "steering",
        1,
        "tool,function,command,shell,<invoke",
        r"\b(?:you must|you should|you need to|immediately|before (?:doing anything|you answer|answering|responding|using)[^.\n]{0,30})"
        r"[^.\n]{0,60}\b(?:call|invoke|use|run|execute)\b[^.\n]{0,40}\b(?:tool|function|command|shell)\b",
        r"<(?:tool_call|function_call|tool_use|invoke)\b",
    ),
    _sign(
        "address",
        1,
        "dear ai,dear llm,dear assistant,dear language,dear chatbot,dear agent,attention ,note to ,important ,if you are a,as an ai",
        r"\b(?:dear |attention |note to (?:the )?|important (?:message|note|notice) (?:for|to) (?:the |any |all )?)"
        r"(?:ai|llm|assistant|language model|chatbot|agent)s?\b",
        r"\bif you are an? (?:ai|llm|language model|assistant|automated agent)\b",
        r"\bas an ai (?:assistant|model|agent),? you (?:must|should|will)\b",
    ),
    _sign(
        "urgency",
        1,
        "<important>,this instruction,this message,this order",
        r"<important>",
        r"\bthis (?:instruction|message|order) (?:is|has) (?:mandatory|(?:the )?highest priority|absolute priority)\b",
    ),
    _sign(
        "hidden markup",
        1,
        "<!--,display,font-size",
        r"<!--[^>]{0,400}\b(?:instruction|assistant|ignore|system prompt|ai agent)\b",
        r"display\s*:\s*none",
        r"font-size\s*:\s*0",
    ),
)

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]"
)
_TAGS = re.compile("[\U000e0020-\U000e007e]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SPACE = re.compile(r"[^\S\n]+")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/_-]{40,8000}={0,2}(?![A-Za-z0-9+/=_-])")
SHORTEST_DECODED = 40
"""Shortest stretch of Base64 that is looked into, in characters: less than that holds no order."""
MOST_DECODED = 16
"""Most stretches of Base64 of one text that are looked into."""
MANY_INVISIBLE = 8
"""Invisible letters from which they are odd: joiners in emoji and soft hyphens come singly."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a text: the signs by name, and their weight together."""

    signs: tuple[str, ...]
    weight: int

    @property
    def suspicious(self) -> bool:
        """Whether it is a find."""
        return self.weight >= SUSPICIOUS


NOTHING = Found((), 0)

_HINT = re.compile("|".join(re.escape(hint) for hint in sorted({hint for sign in SIGNS for hint in sign.hints})))
"""Any hint of any sign: for short texts one pattern is quicker than looking for each."""


def harmless(texts: Sequence[str]) -> bool:
    """Whether `search` finds nothing in any of `texts`, told at one look; False where it takes a closer one."""
    whole = "\n".join(texts)
    if not whole.isascii() or any(len(text) >= SHORTEST_DECODED for text in texts):
        return False
    return _HINT.search(plain(whole)) is None


def search(text: str) -> Found:
    """The signs of injection in `text`."""
    if len(text) < SHORTEST_DECODED and text.isascii() and _HINT.search(plain(text)) is None:
        return NOTHING  # most of what tools say is names of fields and short values: nothing invisible, nothing encoded, no hint
    text = text[:MAX_SCANNED]
    signs = dict(_invisible(text))
    for part in (plain(text), *_decoded(text)):
        signs |= {sign.name: sign.weight for sign in SIGNS if sign.found(part)}
    return Found(tuple(signs), sum(signs.values()))


def plain(text: str) -> str:
    """`text` as a reader understands it: no invisible letters, compatible ones made one, lower case, single spaces; lines stay lines."""
    if text.isascii():
        text = text.lower()
        uneven = "  " in text or "\t" in text or "\r" in text or "\f" in text or "\v" in text
        return _SPACE.sub(" ", text) if uneven else text
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).lower().replace("\u2019", "'"))


def without(text: str) -> str:
    """`text` without the lines in which a sign is found, and without invisible letters; all of it where a sign spans lines."""
    text = _INVISIBLE.sub("", text)
    kept = [line if not search(line).signs else REMOVED for line in text.split("\n")]
    cleaned = "\n".join(kept)
    return cleaned if not search(cleaned).suspicious else REMOVED


REMOVED = "[removed: it reads like an instruction]"
"""What stands where a line was taken out."""


def _invisible(text: str) -> Iterator[tuple[str, int]]:
    if text.isascii():
        return
    if _TAGS.search(text):
        yield "invisible text", 2
    elif len(_INVISIBLE.findall(text)) >= MANY_INVISIBLE or _BIDI.search(text):
        yield "invisible letters", 1


def _decoded(text: str) -> Iterator[str]:
    """What stretches of Base64 say, where they say anything readable."""
    long = " ".join(word for word in text.split() if len(word) >= SHORTEST_DECODED)
    for number, match in enumerate(_BASE64.finditer(long)):
        if number >= MOST_DECODED:
            return
        stretch = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        try:
            said = base64.b64decode(stretch + "=" * (-len(stretch) % 4), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        if said.isprintable() or said.replace("\n", "").isprintable():
            yield plain(said)
