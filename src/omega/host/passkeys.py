"""Passkeys of people: a security key, or the fingerprint reader of a machine, as a second factor (`omega.trust.passkeys` checks answers).

    asked      a challenge for one person, one purpose and one decision lies sealed on the shelf for LASTS_S, and is taken off it by the
               first answer, whatever that is worth: of two that come at once one finds it
    ring       the keys of one person, sealed as one document, so that none can be put there, changed or taken out beside this module
    held       one document per key, named by the digest of its id: a key is on one ring

What was asked says about what: `("approve", EXECUTION, POSITION)` is another challenge than `("cancel", EXECUTION, "")`, and an answer to
the one is none to the other. A ring is written in the very place of what was read (as one-time codes are), so a count that did not rise is
seen by one of two engines; a key that may have a copy stays on its ring, marked, and counts no more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from omega.host.arrangements import Documents, Shelf
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.trust import passkeys
from omega.trust.passkeys import Asked, Key, encoded, refused
from omega.trust.sealing import Keyring

ASKED, RING, HELD = "passkey asked", "passkeys", "passkey held"
"""The kinds of the documents."""

LASTS_S = 300
"""How long (seconds) a challenge may be answered: finding the key and touching it takes less."""

MAX_ASKED = 16
"""Most challenges of one person that are open at once; the oldest is dropped first."""

MAX_KEYS = 16
"""Most keys of one person."""

MAX_NAME = 64
MAX_CEREMONY = 64
MAX_RACES = 8
"""How often a ring is looked at anew because another engine has just changed it."""

Person = tuple[str, str]
"""Tenant and principal (`person:ada`)."""

About = Sequence[str]
"""What an answer is for: the purpose, and what exactly."""


@dataclass(frozen=True, slots=True)
class Held:
    """One key of a person: its `id` and `public` key in base64url, its `count`, the `name` that the person gave it, the `origin` of the
    page where it was registered, when it was made and last used (Unix microseconds, 0: never); `copied`, once there may be two of it."""

    id: str
    public: str
    count: int
    name: str
    origin: str
    made_us: int
    used_us: int = 0
    copied: bool = False

    @property
    def key(self) -> Key:
        """As `omega.trust.passkeys` takes it."""
        return Key(_plain(self.id), _plain(self.public), self.count)

    @property
    def domain(self) -> str:
        """The domain that it is bound to."""
        return passkeys.domain_of(self.origin)

    def record(self) -> dict[str, Any]:
        """What is shown of it."""
        told = asdict(self)
        return {name: told[name] for name in ("id", "name", "origin", "made_us", "used_us", "copied")}


@dataclass(frozen=True, slots=True)
class Passkeys:
    """The keys of everybody, on the `shelf`; `entropy(n)` gives n random bytes."""

    shelf: Shelf
    keyring: Keyring
    now_us: Callable[[], int]
    entropy: Callable[[int], bytes]

    @classmethod
    def reading(cls, documents: Documents, keyring: Keyring, person: Person) -> list[Held]:
        """The person's keys, for whoever looks at records. Raises IntegrityError (OMG-T004)."""
        body = documents.document(RING, _name(person))
        return [] if body is None else [Held(**each) for each in opened(keyring, f"{RING} {_name(person)}", body)]

    # -- asking

    def ask(self, person: Person, about: About, origin: str) -> dict[str, Any]:
        """A new challenge for one of the person's keys: `ceremony`, its name, and `options` for `navigator.credentials.get`.

        Raises InputError: OMG-I001 at an origin that can have no passkeys, OMG-I003 when the person has none for it, OMG-X001 without the
        package.
        """
        passkeys.demand_library()
        domain = passkeys.domain_of(origin)
        usable = [held for held in self.keys(person) if held.domain == domain and not held.copied]
        if not usable:
            raise InputError("OMG-I003", f"{person[1]} has no passkey for {domain}", advice="register one on the page /passkeys")
        ceremony, challenge = self._ask(person, about, origin)
        options = {
            "challenge": encoded(challenge),
            "rpId": domain,
            "timeout": LASTS_S * 1_000,
            "userVerification": "required",
            "allowCredentials": [{"type": "public-key", "id": held.id} for held in usable],
        }
        return {"ceremony": ceremony, "options": options}

    def ask_new(self, person: Person, origin: str) -> dict[str, Any]:
        """A new challenge for a key that is to be registered: `ceremony`, and `options` for `navigator.credentials.create`.

        Raises InputError: OMG-I001, OMG-X001 as `ask` does; Denied (OMG-W012) where the person has MAX_KEYS already.
        """
        passkeys.demand_library()
        domain, kept = passkeys.domain_of(origin), self.keys(person)
        _demand_room(kept)
        ceremony, challenge = self._ask(person, ("create",), origin)
        name = person[1].partition(":")[2]
        options = {
            "challenge": encoded(challenge),
            "rp": {"id": domain, "name": "omega"},
            "user": {"id": encoded(self._handle(person)), "name": name, "displayName": name},
            "pubKeyCredParams": [{"type": "public-key", "alg": number} for number in passkeys.ALGORITHMS],
            "timeout": LASTS_S * 1_000,
            "attestation": "none",
            "authenticatorSelection": {"userVerification": "required", "residentKey": "discouraged"},
            "excludeCredentials": [{"type": "public-key", "id": held.id} for held in kept if held.domain == domain],
        }
        return {"ceremony": ceremony, "options": options}

    # -- answering

    def prove(self, person: Person, about: About, said: Any) -> str:
        """The name of the key with which `person` has answered what was asked `about` this; the answer is used up.

        `said` has `ceremony`, and `answer` as the browser gave it. Raises Denied: OMG-T011 for whatever does not hold, OMG-T012 where the
        key may have a copy: it counts no more then.
        """
        asked, answer = self._taken(person, about, said)
        for _ in range(MAX_RACES):
            found = self.shelf.document(RING, _name(person))
            kept = self._opened(person, found)
            held = _the_one(kept, encoded(passkeys.id_of(answer)))
            if held is None or held.copied:
                raise refused("it is none of the keys that count for this person")
            try:
                count = passkeys.proven(asked, held.key, answer)
            except Denied as error:
                if error.code != "OMG-T012":
                    raise
                if self._swap(person, found, [replace(each, copied=each.copied or each.id == held.id) for each in kept]):
                    raise
                continue
            used = replace(held, count=count, used_us=self.now_us())
            if self._swap(person, found, [used if each.id == held.id else each for each in kept]):
                return held.name
        raise refused("its ring is changed all the time")

    def register(self, person: Person, name: str, said: Any) -> Held:
        """Put the key of an answer on the person's ring under `name`; the answer is used up.

        Raises InputError (OMG-I001) for a name that is none or taken; Denied: OMG-T011 for what does not hold, OMG-W012 for one key more
        than there may be, OMG-W007 for a key that is on a ring already.
        """
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
            raise InputError("OMG-I001", f"a passkey needs a name of 1 to {MAX_NAME} printable characters")
        asked, answer = self._taken(person, ("create",), said)
        key = passkeys.registered(asked, answer)
        held = Held(encoded(key.id), encoded(key.public), key.count, name, asked.origin, self.now_us())
        for _ in range(MAX_RACES):
            found = self.shelf.document(RING, _name(person))
            kept = self._opened(person, found)
            _demand_room(kept)
            if any(each.name == name for each in kept):
                raise InputError("OMG-I001", f"a passkey of this name is there already: {name}")
            self._claim(person, key.id, kept)
            if self._swap(person, found, [*kept, held]):
                return held
        raise refused("its ring is changed all the time")

    def remove(self, person: Person, key: str) -> Held:
        """Take the key of that id off the person's ring. Raises InputError (OMG-I003) where it is not on it."""
        for _ in range(MAX_RACES):
            found = self.shelf.document(RING, _name(person))
            kept = self._opened(person, found)
            held = _the_one(kept, key)
            if held is None:
                raise InputError("OMG-I003", "there is no such passkey", advice="omega mfa list")
            if self._swap(person, found, [each for each in kept if each.id != key]):
                self.shelf.drop_document(HELD, _digest(_plain(held.id)))
                return held
        raise refused("its ring is changed all the time")

    def keys(self, person: Person) -> list[Held]:
        """The person's keys, the oldest first. Raises IntegrityError (OMG-T004) for a ring that was not sealed here for them."""
        return self._opened(person, self.shelf.document(RING, _name(person)))

    # -- the shelf

    def _handle(self, person: Person) -> bytes:
        """What keys know the person by: says nothing about them to whoever finds it on a key."""
        return self.keyring.subject(person[0], f"passkeys of {person[1]}").encode()

    def _ask(self, person: Person, about: About, origin: str) -> tuple[str, bytes]:
        ceremony, nonce, now = encoded(self.entropy(32)), self.entropy(passkeys.NONCE_BYTES), self.now_us()
        prefix = f"{_whose(person)} "
        open_ones = []
        for name, body in self.shelf.documents(ASKED, prefix):
            until = int(body.partition(b" ")[0])
            if until <= now:
                self.shelf.drop_document(ASKED, name)
            else:
                open_ones.append((until, name))
        for _, name in sorted(open_ones)[: max(0, len(open_ones) + 1 - MAX_ASKED)]:
            self.shelf.drop_document(ASKED, name)
        until, name = now + LASTS_S * 1_000_000, prefix + _digest(ceremony.encode())
        facts = {"until_us": until, "about": list(about), "nonce": nonce.hex(), "origin": origin}
        # The moment stands before the seal too, so that sweeping opens nothing; what counts is the one inside.
        self.shelf.put_document(ASKED, name, b"%d " % until + self._sealed(f"{ASKED} {name}", facts), now)
        return ceremony, passkeys.challenge_of((*person, origin, *about), nonce)

    def _taken(self, person: Person, about: About, said: Any) -> tuple[Asked, Any]:
        """What was asked, which nobody finds again, and the answer to it. Raises Denied (OMG-T011)."""
        ceremony = said.get("ceremony") if isinstance(said, Mapping) else None
        if type(ceremony) is not str or not 0 < len(ceremony) <= MAX_CEREMONY or not ceremony.isascii():
            raise refused("it answers nothing that was asked")
        name = f"{_whose(person)} {_digest(ceremony.encode())}"
        body = self.shelf.document(ASKED, name)
        if body is None or not self.shelf.drop_document(ASKED, name):
            raise refused("it answers nothing that was asked of this person, or something that was answered before")
        facts = self._read(f"{ASKED} {name}", body.partition(b" ")[2])
        if self.now_us() >= facts["until_us"]:
            raise refused("it comes too late")
        if facts["about"] != list(about):
            raise refused("it was given for something else")
        challenge = passkeys.challenge_of((*person, facts["origin"], *about), bytes.fromhex(facts["nonce"]))
        return Asked(challenge, facts["origin"], self._handle(person)), said.get("answer")

    def _claim(self, person: Person, key: bytes, kept: Sequence[Held]) -> None:
        """Say that the key is on this person's ring from now on. Raises Denied (OMG-W007) where it is on one."""
        name = _digest(key)
        context = f"{HELD} {name}"
        if self.shelf.swap_document(HELD, name, None, self._sealed(context, list(person)), self.now_us()):
            return
        found = self.shelf.document(HELD, name)
        theirs = None if found is None else tuple(self._read(context, found))
        if theirs != person or _the_one(kept, encoded(key)) is not None:  # else it was claimed just before a process ended
            raise Denied("OMG-W007", "this key is registered already", advice="a key is one person's, once")

    def _swap(self, person: Person, was: bytes | None, keys: Sequence[Held]) -> bool:
        body = self._sealed(f"{RING} {_name(person)}", [asdict(held) for held in keys])
        return self.shelf.swap_document(RING, _name(person), was, body, self.now_us())

    def _opened(self, person: Person, body: bytes | None) -> list[Held]:
        return [] if body is None else [Held(**each) for each in self._read(f"{RING} {_name(person)}", body)]

    def _sealed(self, context: str, value: Any) -> bytes:
        wrapped, sealer = self.keyring.create(context)
        return b".".join(base64.b64encode(part) for part in (wrapped, sealer.seal(json.dumps(value).encode(), context.encode())))

    def _read(self, context: str, body: bytes) -> Any:
        return opened(self.keyring, context, body)


def of_tenant(documents: Documents, keyring: Keyring, tenant: str) -> list[tuple[str, str]]:
    """Kind and name of every document here that is `tenant`'s, for whoever purges it. A ring that does not open goes too."""
    found = []
    for name, body in documents.documents(RING, f"{tenant} "):
        found.append((RING, name))
        found += [(ASKED, asked) for asked, _ in documents.documents(ASKED, f"{_digest(name.encode())[:32]} ")]
        with suppress(IntegrityError):
            found += [(HELD, _digest(_plain(str(held["id"])))) for held in opened(keyring, f"{RING} {name}", body)]
    return found


def opened(keyring: Keyring, context: str, body: bytes) -> Any:
    """What a document of this module says. Raises IntegrityError (OMG-T004) for one that was not sealed here for its place."""
    try:
        wrapped, sealed = (base64.b64decode(part, validate=True) for part in body.split(b"."))
    except ValueError as error:
        raise IntegrityError("OMG-T004", "what is kept of passkeys has no known form") from error
    return json.loads(keyring.open(context, wrapped).open(sealed, context.encode()))


def _the_one(kept: Sequence[Held], key: str) -> Held | None:
    return next((held for held in kept if held.id == key), None)


def _demand_room(kept: Sequence[Held]) -> None:
    if len(kept) >= MAX_KEYS:
        raise Denied("OMG-W012", f"{MAX_KEYS} passkeys are registered already", advice="remove one that is no longer needed")


def _name(person: Person) -> str:
    return f"{person[0]} {person[1]}"


def _whose(person: Person) -> str:
    return _digest(_name(person).encode())[:32]


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
