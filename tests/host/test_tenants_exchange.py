"""Credentials for passports: what an API key and a passport are exchanged for, and what strangers learn from a refusal."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosted import Installation
from omega.host.exchange import ApiKey, draw_secret, key_text
from omega.kernel.errors import Denied, InputError, OmegaError
from omega.kernel.scope import Scope

Run = Callable[[Callable[[Installation], Awaitable[Any]]], Any]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture
def installed(tmp_path: Path) -> Run:
    def run(work: Callable[[Installation], Awaitable[Any]]) -> Any:
        async def whole() -> Any:
            async with Installation.open(tmp_path / "home") as installation:
                return await work(installation)

        return asyncio.run(whole())

    return run


def scope_of(here: Installation, passport: str) -> Scope:
    return here.omega.world.authority.verify(passport, now=here.now_us / 1e6)


async def token(here: Installation, **form: str) -> dict[str, Any]:
    return await here.exchange.exchange(form, {})


async def refused(here: Installation, headers: dict[str, str] | None = None, **form: str) -> tuple[str, str]:
    """The error code of RFC 6749 and our own."""
    with pytest.raises(OmegaError) as caught:
        await here.exchange.exchange(form, headers or {})
    return caught.value.details["oauth"], caught.value.code


def test_a_key_is_exchanged_in_the_form_and_by_http_basic(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant(region="eu", residency=["eu"])
        key, text = await here.key(tenant, roles=["member"], capabilities=["flows:run", "records:read"])
        secret = text[len("omk_") + 33 :]
        basic = base64.b64encode(f"{key}:{secret}".encode()).decode()
        answers = [
            await token(here, grant_type="client_credentials", client_id=key, client_secret=secret),
            await token(here, grant_type="client_credentials", client_secret=text),
            await here.exchange.exchange({"grant_type": "client_credentials"}, {"authorization": f"Basic {basic}"}),
        ]
        for answer in answers:
            scope = scope_of(here, answer["access_token"])
            assert (scope.tenant, scope.principal, scope.groups, scope.region) == (tenant, "agent:ci", {"member"}, "eu")
            assert answer["token_type"] == "Bearer" and answer["scope"] == "flows:run records:read" and 890 < answer["expires_in"] <= 900
            assert scope.passport.split("/")[:2] == [tenant, key]
        both = {"grant_type": "client_credentials", "client_secret": text}
        assert await refused(here, {"authorization": f"Basic {basic}"}, **both) == ("invalid_request", "OMG-I001")

    installed(work)


@pytest.mark.promise("TEN-04")
def test_whatever_is_wrong_with_a_key_a_stranger_is_told_the_same(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant, other = await here.tenant("one"), await here.tenant("other")
        _, text = await here.key(tenant)
        _, revoked = await here.key(tenant)
        await here.ask("tenancy.revoke_key", {"key": f"key_{revoked[4:36]}"}, here.owner(tenant))
        _, suspended = await here.key(other)
        await here.ask("tenancy.suspend", {"tenant": other, "reason": "x"})
        _, short = await here.key(tenant, days=1e-6)
        await asyncio.sleep(0.1)  # 1e-6 days are 86 ms
        bad = [
            "",
            "omk_",
            text[:-1],
            text + "A",
            text[:-1] + ("A" if text[-1] != "A" else "B"),
            key_text("key_" + "0" * 32, text[37:]),
            text.upper(),
            text + "\n",
            "omk_" + "0" * 32 + "_" + "x" * 5_000,
            revoked,
            suspended,
            short,
            here.passport(tenant),
        ]
        told = set()
        for each in bad:
            with pytest.raises(Denied) as caught:
                here.exchange.passport_of_key(each)
            told.add(str(sorted(caught.value.record().items(), key=str)))
            assert await refused(here, grant_type="client_credentials", client_secret=each) == ("invalid_client", "OMG-T001")
        assert len(told) == 1
        assert here.exchange.passport_of_key(text)

    installed(work)


@pytest.mark.promise("TEN-03")
def test_a_revoked_key_takes_everything_with_it_that_was_given_for_it(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        key, text = await here.key(tenant, capabilities=["*"], roles=["owner"], principal="person:ada")
        direct = here.exchange.passport_of_key(text)
        first = (await token(here, grant_type="client_credentials", client_secret=text))["access_token"]
        refreshed = (await token(here, grant_type="refresh_token", refresh_token=first))["access_token"]
        narrowed = (await token(here, grant_type=EXCHANGE, subject_token=first, scope="flows:run"))["access_token"]
        actor = here.passport(tenant, "agent:helper", roles=())
        acting = (await token(here, grant_type=EXCHANGE, subject_token=first, actor_token=actor, scope="flows:run"))["access_token"]
        all_of_it = [direct, first, refreshed, narrowed, acting]
        for passport in all_of_it:
            scope_of(here, passport)
        began = time.monotonic()
        await here.ask("tenancy.revoke_key", {"key": key}, here.owner(tenant))
        for passport in all_of_it:
            with pytest.raises(Denied):
                scope_of(here, passport)
        with pytest.raises(Denied):
            here.exchange.passport_of_key(text)
        assert time.monotonic() - began < 5
        scope_of(here, actor)
        # what was revoked stays so, also when the revocation is carried out again
        await here.ask("tenancy.revoke_key", {"key": key}, here.owner(tenant))
        with pytest.raises(Denied):
            scope_of(here, direct)

    installed(work)


def test_rights_are_only_ever_lost(installed: Run) -> None:
    async def work(here: Installation) -> None:
        _, text = await here.key(await here.tenant(), capabilities=["flows:run", "files:*"])
        credentials = {"grant_type": "client_credentials", "client_secret": text}
        assert (await token(here, **credentials, scope="files:read flows:run files:read"))["scope"] == "files:read flows:run"
        for wanted in ("*", "model:ask", "files:read tools:call"):
            assert await refused(here, **credentials, scope=wanted) == ("invalid_scope", "OMG-T002")
        narrow = (await token(here, **credentials, scope="files:read"))["access_token"]
        assert await refused(here, grant_type=EXCHANGE, subject_token=narrow, scope="files:write") == ("invalid_scope", "OMG-T002")
        whole = (await token(here, **credentials))["access_token"]
        again = (await token(here, grant_type="refresh_token", refresh_token=whole, scope="files:read"))["access_token"]
        assert scope_of(here, again).capabilities == {"files:read"}

    installed(work)


def test_an_actor_acts_for_somebody_and_the_chain_says_so(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant, other = await here.tenant("one"), await here.tenant("other")
        subject = here.passport(tenant, "person:ada", capabilities=("flows:run", "files:read"))
        actor = here.passport(tenant, "agent:helper", roles=(), capabilities=("flows:run",))
        answer = await token(here, grant_type=EXCHANGE, subject_token=subject, actor_token=actor, scope="flows:run")
        scope = scope_of(here, answer["access_token"])
        assert (scope.principal, scope.actors, scope.capabilities) == ("person:ada", ("agent:helper",), {"flows:run"})
        assert answer["issued_token_type"].endswith(":jwt")
        foreign = here.passport(other, "agent:helper")
        exchanged = {"grant_type": EXCHANGE, "subject_token": subject}
        assert await refused(here, **exchanged, actor_token=foreign) == ("invalid_grant", "OMG-T001")
        assert await refused(here, **exchanged, actor_token=answer["access_token"]) == ("invalid_grant", "OMG-T001")
        assert await refused(here, **exchanged, actor_token=actor, subject_token_type="urn:x") == ("invalid_request", "OMG-I001")
        assert await refused(here, grant_type=EXCHANGE, subject_token="x") == ("invalid_grant", "OMG-T001")
        with pytest.raises(Denied):  # nobody acts for themself through a detour
            await token(here, grant_type=EXCHANGE, subject_token=answer["access_token"], actor_token=subject, scope="flows:run")

    installed(work)


def test_what_was_cut_from_a_passport_does_not_outlive_it(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        subject = here.passport(tenant, "person:ada", capabilities=("flows:run", "files:read"))
        actor = here.passport(tenant, "agent:helper", roles=(), capabilities=("flows:run",))
        for more in ({"actor_token": actor, "scope": "flows:run"}, {"scope": "files:read"}):
            cut = (await token(here, grant_type=EXCHANGE, subject_token=subject, **more))["access_token"]
            assert scope_of(here, cut).expires_at <= scope_of(here, subject).expires_at
            assert await refused(here, grant_type="refresh_token", refresh_token=cut) == ("invalid_grant", "OMG-T001")

    installed(work)


def test_another_grant_is_not_offered(installed: Run) -> None:
    async def work(here: Installation) -> None:
        for grant in ("", "password", "authorization_code"):
            assert await refused(here, grant_type=grant) == ("unsupported_grant_type", "OMG-I001")
        for header in ("Basic", "Basic %%%", "Basic " + base64.b64encode(b"\xff").decode(), "Bearer x"):
            with pytest.raises((Denied, InputError)):
                await here.exchange.exchange({"grant_type": "client_credentials"}, {"authorization": header})

    installed(work)


def test_a_passport_is_looked_into_and_revoked_by_its_own_alone(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant, other = await here.tenant("one"), await here.tenant("other")
        mine, hers, theirs = here.passport(tenant, "person:ada"), here.passport(tenant, "person:bea"), here.passport(other, "person:ada")
        ada = scope_of(here, mine)
        assert here.exchange.introspect({"token": hers}, ada)["sub"] == "person:bea"
        for foreign in (theirs, "x", ""):
            assert here.exchange.introspect({"token": foreign}, ada) == {"active": False}
            assert here.exchange.revoke({"token": foreign}, ada) == ""
        assert here.exchange.revoke({"token": hers}, ada) == ""
        name = here.exchange.revoke({"token": mine}, ada)
        await here.omega.revoke(name)
        assert here.exchange.introspect({"token": mine}, scope_of(here, hers)) == {"active": False}

    installed(work)


def test_a_key_is_noted_as_used_once_a_minute_and_held_for_that_long(installed: Run) -> None:
    async def work(here: Installation) -> None:
        tenant = await here.tenant()
        _, text = await here.key(tenant)
        passports = {here.exchange.passport_of_key(text) for _ in range(20)}
        assert len(passports) == 1 and len(here.written) == 1
        here.written[0]()
        (row,) = await here.ask("tenancy.keys", {}, here.owner(tenant))
        assert abs(row["used_us"] - here.now_us) < 60_000_000

    installed(work)


def test_a_passport_ends_with_the_key_it_was_given_for(installed: Run) -> None:
    async def work(here: Installation) -> None:
        _, text = await here.key(await here.tenant(), days=100 / 86_400)
        first = await token(here, grant_type="client_credentials", client_secret=text)
        assert first["expires_in"] <= 100
        again = await token(here, grant_type="refresh_token", refresh_token=first["access_token"])
        assert again["expires_in"] <= 100
        narrowed = await token(here, grant_type=EXCHANGE, subject_token=first["access_token"], scope="flows:run")
        assert narrowed["expires_in"] <= 100

    installed(work)


class _Entropy:
    def take(self, size: int) -> bytes:
        return bytes(range(size))


def test_a_drawn_key_has_the_form_that_is_read() -> None:
    secret, digest = draw_secret(_Entropy())
    assert ApiKey.parse(key_text("key_" + "a" * 32, secret)) == ApiKey("key_" + "a" * 32, digest)


@given(st.text(max_size=120) | st.builds(lambda tail: f"omk_{tail}", st.text(alphabet="0123456789abcdef_-omk", max_size=120)))
@settings(max_examples=300, deadline=None)
def test_whatever_is_shown_as_a_key_is_read_or_is_none(text: str) -> None:
    found = ApiKey.parse(text)
    assert found is None or (found.id.startswith("key_") and len(found.digest) == 64 and len(text) == 80)
