"""Credentials from end to end: issued, shown and verified by the keys of installations, and one refusal per attack."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chronicle.ledger import SeededSigner
from omega.adapters.memory import MemoryStore
from omega.cli import run
from omega.host.clock import SystemEntropy
from omega.host.identity import Identity
from omega.host.issuers import ISSUER, believed, name_of
from omega.host.settings import Settings
from omega.host.vouching import MAX_NONCES, NONCE, NONCE_LASTS_S, Begin, Challenge, Check, Issue, Present, VouchingEffector
from omega.kernel.effects import Request
from omega.kernel.errors import Denied, InputError, IntegrityError, UpstreamError
from omega.kernel.verdict import mint_permit
from omega.trust import credential, did
from omega.trust.credential import Audience
from omega.trust.jws import signed
from omega.trust.keys import PublicKey, b64url

KIND = "https://acme.example/employee"
CLAIMS = {"role": "auditor", "given_name": "Ada", "born": 1815}
NOW_S = 1_800_000_000
THIEF = SeededSigner(81)


class Library:
    """Documents of did:web, and who asked for which."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []

    def fetch(self, address: str) -> bytes:
        self.asked.append(address)
        if address not in self.bodies:
            raise UpstreamError("OMG-P007", "there is no such document")
        return self.bodies[address]


class Installation:
    """One with keys and records of its own, at a moment that the test moves."""

    def __init__(self, home: Path) -> None:
        self.settings, self.now_s = Settings.load(home), float(NOW_S)
        identity = Identity.load(self.settings, SystemEntropy())
        self.store, self.library = MemoryStore(sequencer=identity.sequencer, owner="test", now_us=self.now_us), Library()
        self.keyring = identity.keyring
        self.effector = VouchingEffector(self.settings, self.store, self.keyring, self.now_us, lambda: self.library)
        names = self.do(Begin())
        self.issuer, self.holder = names["issuer"], names["holder"]

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def do(self, request: Request, tenant: str = "") -> Any:
        tenant = tenant or self.settings.tenant
        facts: dict[str, Any] = {"execution": "exe_test", "step": "step#0"}
        permit = mint_permit(
            tenant=tenant, epoch=1, port=request.port, commitment=b"\0" * 32, ttl_s=60, clock=time.monotonic, trace="", **facts
        )
        return asyncio.run(self.effector.perform(permit, request, **facts))[0]

    def issue(self, holder: str, **changed: Any) -> str:
        facts: dict[str, Any] = {"kind": KIND, "claims": CLAIMS, "shown": ("role",), "holder": holder, "lasts_s": 3_600}
        return str(self.do(Issue(**{**facts, **changed}))["credential"])

    def present(self, text: str, asked: dict[str, Any], *names: str) -> str:
        wanted = Present(credential=text, disclosed=names, audience=asked["audience"], nonce=asked["nonce"])
        return str(self.do(wanted)["presentation"])

    def check(self, presentation: str, asked: dict[str, Any]) -> dict[str, Any]:
        return dict(self.do(Check(presentation=presentation, nonce=asked["nonce"])))

    def believe(self, name: str, *kinds: str) -> None:
        body = json.dumps(believed(name, kinds or (KIND,)).seal(self.keyring)).encode()
        self.store.put_document(ISSUER, name_of(name), body, 1)


@pytest.fixture
def there(tmp_path: Path) -> Installation:
    """Who issues."""
    return Installation(tmp_path / "there")


@pytest.fixture
def person(tmp_path: Path) -> Installation:
    """Who holds."""
    return Installation(tmp_path / "person")


@pytest.fixture
def here(tmp_path: Path, there: Installation) -> Iterator[Installation]:
    """Who verifies, and believes the issuer."""
    made = Installation(tmp_path / "here")
    made.believe(there.issuer)
    yield made


def refused(call: Callable[[], Any], why: str, code: str = "OMG-T007") -> None:
    with pytest.raises(Denied, match=why) as caught:
        call()
    assert caught.value.code == code


@pytest.mark.promise("CRED-01")
def test_what_the_holder_discloses_is_shown_and_nothing_else(there: Installation, person: Installation, here: Installation) -> None:
    asked = here.do(Challenge())
    shown = person.present(there.issue(person.holder), asked, "given_name")
    found = here.check(shown, asked)
    assert found["claims"] == {"role": "auditor", "given_name": "Ada"}
    assert (found["issuer"], found["holder"], found["kind"]) == (there.issuer, person.holder, KIND)
    assert found["ends_s"] == NOW_S + 3_600
    assert len({there.issuer, there.holder, person.issuer, person.holder, here.issuer}) == 5


@pytest.mark.promise("CRED-02")
def test_a_nonce_is_answered_once_and_in_time(there: Installation, person: Installation, here: Installation) -> None:
    asked, text = here.do(Challenge()), there.issue(person.holder)
    shown = person.present(text, asked)
    here.check(shown, asked)
    refused(lambda: here.check(shown, asked), "answered already")
    late = here.do(Challenge())
    here.now_s += NONCE_LASTS_S
    refused(lambda: here.check(person.present(text, late), late), "answered already")
    refused(lambda: here.check(person.present(text, asked | {"nonce": "made-up"}), asked | {"nonce": "made-up"}), "nobody is asked")


@pytest.mark.promise("CRED-02")
def test_of_two_who_show_the_same_at_once_one_is_heard(there: Installation, person: Installation, here: Installation) -> None:
    """The document of the nonce goes away between the look at it and the end of the check."""
    asked = here.do(Challenge())
    here.believe("did:web:acme.example")
    name = "did:web:acme.example"

    class Slow(Library):
        def fetch(self, address: str) -> bytes:
            for place, _ in here.store.documents(NONCE):
                here.store.drop_document(NONCE, place)
            return super().fetch(address)

    here.library = Slow()
    here.library.bodies[did.address_of(name)] = web_document(name, there)
    shown = person.present(there.issue(person.holder, issuer=name), asked)
    refused(lambda: here.check(shown, asked), "answered already")


@pytest.mark.promise("CRED-03")
def test_what_does_not_hold_is_refused(there: Installation, person: Installation, here: Installation) -> None:
    text = there.issue(person.holder)
    asked = here.do(Challenge())
    meant, now = Audience(asked["audience"], asked["nonce"]), float(NOW_S)
    good = person.present(text, asked, "given_name")
    token, disclosure, binding = good.split("~")
    forged = b64url(json.dumps(["c2FsdA", "born", 1990]).encode())
    altered = b64url(json.dumps([json.loads(_unb64(disclosure))[0], "given_name", "Eve"]).encode())
    nobody = signed_none(text.split("~")[0])
    foreign = person.present(text, {"audience": person.issuer, "nonce": asked["nonce"]})
    other = person.present(text, {"audience": asked["audience"], "nonce": "another"})
    attacks = {
        "holder did not sign": credential.present(text, [], signer=THIEF, audience=meant, now=now),  # stolen
        "shown to another": foreign,
        "earlier, or otherwise": other,
        "issuer did not sign": "~".join([nobody, disclosure, binding]),  # alg none
    }
    for why, presentation in attacks.items():
        refused(lambda shown=presentation: here.check(shown, asked), why)
    for parts in (  # disclosures swapped under the binding
        [token, disclosure, forged, binding],
        [token, altered, binding],
        [token, binding],
    ):
        joined = "~".join(parts)
        refused(lambda shown=joined: here.check(shown, asked), "shown to another, earlier, or otherwise")
    resigned = credential.present(text, ["given_name"], signer=None, audience=meant, now=now)
    refused(lambda: here.check(resigned, asked), "holder did not sign")
    assert here.check(good, asked)["claims"]["given_name"] == "Ada"  # what failed has not used up the nonce


@pytest.mark.promise("CRED-03")
def test_a_claim_that_the_issuer_never_signed_is_refused_even_from_its_holder(there: Installation, here: Installation) -> None:
    """The holder signs a presentation of their own making, with a disclosure that no digest names."""
    holder, asked = SeededSigner(82), here.do(Challenge())
    text = there.issue(did.did_of(PublicKey(holder.public)))
    token = text.split("~")[0]
    forged = "~".join([token, b64url(json.dumps(["c2FsdA", "admin", True]).encode()), ""])
    shown = credential.present(forged, ["admin"], signer=holder, audience=Audience(asked["audience"], asked["nonce"]), now=NOW_S)
    refused(lambda: here.check(shown, asked), "did not sign")


@pytest.mark.promise("CRED-03")
def test_an_ended_one_and_one_without_a_holder_are_refused(there: Installation, person: Installation, here: Installation) -> None:
    text = there.issue(person.holder, lasts_s=60)
    for each in (here, person):
        each.now_s += 60
    asked = here.do(Challenge())
    refused(lambda: here.check(person.present(text, asked), asked), "does not hold at this time")
    bearer = credential.issue(
        CLAIMS, kind=KIND, issuer=there.issuer, signer=THIEF, concealed=(), holder=None, times=(NOW_S, NOW_S + 9_999), entropy=bytes
    )
    refused(lambda: here.check(bearer, asked), "no holder")


@pytest.mark.promise("CRED-04")
def test_nobody_is_believed_who_was_not_named_for_that_type(there: Installation, person: Installation, here: Installation) -> None:
    stranger = "did:web:stranger.example"
    asked = here.do(Challenge())
    refused(lambda: here.check(person.present(person.issue(person.holder), asked), asked), "named its issuer")
    refused(lambda: here.check(person.present(there.issue(person.holder, issuer=stranger), asked), asked), "named its issuer")
    refused(lambda: here.check(person.present(there.issue(person.holder, kind="root"), asked), asked), "not for credentials of this type")
    assert here.library.asked == []  # nothing is fetched for a stranger
    facts: dict[str, Any] = {"kind": KIND, "concealed": (), "holder": PublicKey(THIEF.public), "times": (NOW_S, NOW_S + 60)}
    claimed = credential.issue(CLAIMS, issuer=there.issuer, signer=THIEF, entropy=bytes, **facts)
    meant = Audience(asked["audience"], asked["nonce"])
    shown = credential.present(claimed, [], signer=THIEF, audience=meant, now=NOW_S)
    refused(lambda: here.check(shown, asked), "issuer did not sign")
    own = here.issue(person.holder)
    assert here.check(person.present(own, asked), asked)["issuer"] == here.issuer  # what one issued oneself, one believes


@pytest.mark.promise("CRED-04")
def test_an_entry_that_was_not_sealed_here_is_none(there: Installation, person: Installation, here: Installation) -> None:
    """Whoever can write to the records makes no issuer, neither by their own hand nor out of another's entry."""
    asked = here.do(Challenge())
    entry = here.store.document(ISSUER, name_of(there.issuer))
    assert entry is not None
    here.store.put_document(ISSUER, name_of(person.issuer), entry, 1)
    with pytest.raises(IntegrityError):
        here.check(person.present(person.issue(person.holder), asked), asked)


@pytest.mark.promise("CRED-04")
def test_a_did_web_is_looked_up_where_it_was_named(there: Installation, person: Installation, here: Installation) -> None:
    name = "did:web:acme.example:staff"
    here.believe(name)
    asked, text = here.do(Challenge()), there.issue(person.holder, issuer=name)
    with pytest.raises(UpstreamError):
        here.check(person.present(text, asked), asked)
    address = "https://acme.example/staff/did.json"
    here.library.bodies[address] = web_document(name, person)
    refused(lambda: here.check(person.present(text, asked), asked), "issuer did not sign")
    here.library.bodies[address] = web_document("did:web:acme.example:other", there)
    refused(lambda: here.check(person.present(text, asked), asked), "not that of the identifier")
    here.library.bodies[address] = web_document(name, there)
    assert here.check(person.present(text, asked), asked)["issuer"] == name
    assert set(here.library.asked) == {address}


@pytest.mark.promise("CRED-04")
def test_an_issuer_in_our_own_network_is_not_spoken_to(here: Installation, person: Installation, there: Installation) -> None:
    """The fetch that is used outside tests: localhost is no public address, whoever named it."""
    name = "did:web:localhost"
    here.believe(name)
    here.effector = VouchingEffector(here.settings, here.store, here.keyring, lambda: NOW_S * 1_000_000)
    asked = here.do(Challenge())
    with pytest.raises(UpstreamError, match="not a public one"):
        here.check(person.present(there.issue(person.holder, issuer=name), asked), asked)


@pytest.mark.promise("CRED-05")
def test_keys_are_the_installations_own(here: Installation, person: Installation) -> None:
    refused(lambda: here.do(Begin(), "ten_guest"), "ten_guest", "OMG-W001")
    foreign = here.issue(did.did_of(PublicKey(THIEF.public)))
    refused(lambda: person.present(foreign, here.do(Challenge())), "another holder")
    for name, value in {"iss": "me", "_sd": "x", "exp": 1, "cnf": {}}.items():
        refused(lambda changed={name: value}: here.issue(person.holder, claims=changed, shown=()), "cannot be issued")
    refused(lambda: here.issue("did:web:localhost"), "no did:key")
    refused(lambda: here.issue(person.holder, issuer=person.issuer), "did:web")
    for changed in ({"claims": {}, "shown": ()}, {"lasts_s": 0}, {"kind": ""}, {"shown": ("absent",)}):
        with pytest.raises(InputError):
            here.issue(person.holder, **changed)


def test_only_so_many_nonces_are_out(here: Installation) -> None:
    for number in range(MAX_NONCES):
        here.store.put_document(NONCE, f"n-{number}", json.dumps({"ends_s": NOW_S + 1}).encode(), 1)
    refused(lambda: here.do(Challenge()), "out already", "OMG-W005")
    here.now_s += 1
    here.do(Challenge())
    assert len(here.store.documents(NONCE)) == 1


@pytest.mark.slow
@pytest.mark.promise("CRED-05")
def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def omega(home: str, *arguments: str, status: int = 0) -> dict[str, Any]:
        monkeypatch.setenv("OMEGA_HOME", str(tmp_path / home))
        capsys.readouterr()
        assert run([*arguments, "--json"]) == status, capsys.readouterr()
        return dict(json.loads(capsys.readouterr().out))

    monkeypatch.chdir(tmp_path)
    acme, ada = omega("acme", "credential", "begin"), omega("ada", "credential", "begin")
    said = ["--claim", "name=Ada", "--claim", "born=1815", "--open", "role=auditor"]
    made = omega("acme", "credential", "issue", KIND, "--holder", ada["holder"], *said, "--out", "ada.credential")
    assert "credential" not in made
    assert (tmp_path / "ada.credential").stat().st_mode & 0o777 == 0o600
    shown = omega("ada", "credential", "show", "ada.credential")
    assert (shown["concealed"], shown["claims"]) == ({"name": "Ada", "born": 1815}, {"role": "auditor"})
    asked = omega("here", "credential", "challenge")
    told = ["--to", asked["audience"], "--nonce", asked["nonce"], "--disclose", "born", "--out", "shown"]
    omega("ada", "credential", "present", "ada.credential", *told)
    omega("here", "credential", "verify", "shown", "--nonce", asked["nonce"], status=3)
    omega("here", "credential", "trust", acme["issuer"], "--kind", KIND)
    found = omega("here", "credential", "verify", "shown", "--nonce", asked["nonce"])
    assert found["claims"] == {"role": "auditor", "born": 1815}
    assert omega("here", "credential", "verify", "shown", "--nonce", asked["nonce"], status=3)["error"]["code"] == "OMG-T007"
    assert [each["issuer"] for each in omega("here", "credential", "show")["believed"]] == [acme["issuer"]]
    omega("here", "credential", "trust", acme["issuer"], "--not-any-more")
    assert omega("here", "credential", "show")["believed"] == []
    document = omega("acme", "credential", "show", "--document", "did:web:acme.example")
    assert did.read_document("did:web:acme.example", json.dumps(document).encode())
    ran = [each["flow"] for each in omega("here", "runs")["runs"]]
    assert ran.count("check-credential") == 3
    assert {"challenge-holder", "arrange", "dissolve"} <= set(ran)


def web_document(name: str, of: Installation) -> bytes:
    return json.dumps(did.document_of(name, did.key_of(of.issuer))).encode()


def signed_none(token: str) -> str:
    """The token as whoever claims that nothing need be signed writes it."""
    header = {"alg": "none", "typ": credential.TYPE}
    return f"{b64url(json.dumps(header).encode())}.{token.split('.')[1]}."


def _unb64(text: str) -> bytes:
    from omega.trust.keys import unb64url

    return unb64url(text)


def test_a_claim_of_another_kind_of_token_is_no_credential(here: Installation) -> None:
    token = signed({"typ": "omega-passport+jwt"}, {"iss": here.issuer, "vct": KIND}, THIEF)
    refused(lambda: here.check(f"{token}~", here.do(Challenge())), "no credential")
