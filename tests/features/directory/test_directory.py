"""Users and groups of a tenant: what the gate sees of them, and how soon a change counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from hosted import Installation
from omega.adapters.tables import open_tables
from omega.features.directory.requests import PublishUsers, WithdrawUser
from omega.features.directory.schema import SCHEMA
from omega.host import credentials, mfa
from omega.host.exchange import Exchange
from omega.host.former import FORMER
from omega.host.tenants import API_KEY
from omega.host.users import USER, Users, UsersEffector, document_name, sealed
from omega.kernel.effects import Request
from omega.kernel.errors import Denied, InputError, IntegrityError
from omega.kernel.ports import Turn

Run = Callable[[Callable[[Installation], Awaitable[Any]]], Any]

ADA = {"user_name": "Ada@example.com", "display_name": "Ada L", "emails": [{"value": "ada@example.com"}], "external_id": "x-1"}


def _exchange(at: Installation) -> tuple[Exchange, Users]:
    world = at.omega.world
    users = Users(at.omega.store, world.keyring)
    return Exchange(at.omega.store, world.authority, world.entropy, world.clock.now_us, later=at.written.append, users=users), users


@pytest.mark.promise("SSO-01")
def test_groups_and_roles_reach_the_gate_and_a_key_does_what_its_user_may(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        exchange, users = _exchange(at)
        ada = await at.ask("directory.create_user", ADA, owner)
        assert ada["principal"] == "person:ada@example.com" and ada["version"] == 1
        assert users.bearer(tenant, ada["principal"], "local").roles == ()
        group = await at.ask(
            "directory.create_group", {"display_name": "Data Science", "roles": ["member"], "members": [ada["user"]]}, owner
        )
        assert users.bearer(tenant, ada["principal"], "local").roles == ("group:data-science", "member")
        _, key = await at.key(tenant, ada["principal"], roles=["admin", "member"])
        world = at.omega.world
        first = world.authority.verify(exchange.passport_of_key(key), now=at.now_us / 1e6)
        assert first.groups == {"group:data-science", "member"}, "of the key's roles only what its user has"
        await at.ask("directory.change_group", {"group": group["group"], "remove": [ada["user"]]}, owner)
        with pytest.raises(Denied):
            users.demand_current(first)
        later = world.authority.verify(exchange.passport_of_key(key), now=at.now_us / 1e6)
        assert later.groups == frozenset(), "and at the next call"
        shown = await at.ask("directory.group", {"group": group["group"]}, owner)
        assert shown["members"] == [] and shown["name"] == "data-science" and shown["version"] == 2

    installed(work)


@pytest.mark.promise("SSO-02")
def test_a_suspended_user_loses_what_they_hold_and_gets_none_of_it_back(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner, world = at.owner(tenant), at.omega.world
        exchange, users = _exchange(at)
        ada = await at.ask("directory.create_user", ADA | {"roles": ["member"]}, owner)
        _, key = await at.key(tenant, ada["principal"])
        held = [exchange.passport_of_key(key), exchange.passport_of_person(users.bearer(tenant, ada["principal"], "local"))]
        scopes = [world.authority.verify(each, now=at.now_us / 1e6) for each in held]
        await at.ask("directory.suspend_user", {"user": ada["user"]}, owner)
        for passport, scope in zip(held, scopes, strict=True):
            with pytest.raises(Denied):
                world.authority.verify(passport, now=at.now_us / 1e6)
            with pytest.raises(Denied):
                users.demand_current(scope)
        with pytest.raises(Denied):
            exchange.passport_of_key(key)
        with pytest.raises(Denied):
            users.bearer(tenant, ada["principal"], "local")
        await at.ask("directory.resume_user", {"user": ada["user"]}, owner)
        with pytest.raises(Denied):
            world.authority.verify(held[1], now=at.now_us / 1e6)
        assert world.authority.verify(exchange.passport_of_key(key), now=at.now_us / 1e6).principal == ada["principal"]
        await at.ask("directory.delete_user", {"user": ada["user"]}, owner)
        with pytest.raises(Denied):
            exchange.passport_of_key(key)
        assert await at.refusal("directory.user", {"user": ada["user"]}, owner) == "OMG-I003"

    installed(work)


@pytest.mark.slow
@pytest.mark.promise("SSO-03")
def test_nobody_manages_a_role_that_they_have_not(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        admin = at.passport(tenant, "agent:scim", ("admin", "member"), ("flows:run", "directory:*", "users:use"))
        boss = await at.ask("directory.create_user", {"user_name": "boss", "roles": ["owner"]}, owner)
        eve = await at.ask("directory.create_user", {"user_name": "eve"}, admin)
        owners = await at.ask("directory.create_group", {"display_name": "Owners", "roles": ["owner"]}, owner)
        tools = await at.ask("directory.create_group", {"display_name": "Tools", "capabilities": ["tools:use"]}, owner)
        for name, value in (
            ("create_user", {"user_name": "m", "roles": ["owner"]}),
            ("change_user", {"user": eve["user"], "about": {"user_name": "eve", "roles": ["owner"]}}),
            ("change_user", {"user": boss["user"], "about": {"user_name": "eve2"}}),
            ("suspend_user", {"user": boss["user"]}),
            ("delete_user", {"user": boss["user"]}),
            ("create_group", {"display_name": "more", "roles": ["owner"]}),
            ("create_group", {"display_name": "more", "capabilities": ["*"]}),
            ("change_group", {"group": owners["group"], "add": [eve["user"]]}),
            ("change_group", {"group": tools["group"], "add": [eve["user"]]}),
            ("delete_group", {"group": owners["group"]}),
        ):
            assert await at.refusal(f"directory.{name}", value, admin) == "OMG-T002", name
        assert await at.refusal("directory.users", {}, at.passport(tenant, "agent:x", ("member",))) == "OMG-W001"
        assert await at.refusal("directory.create_user", {"user_name": "o", "roles": ["operator"]}, owner) == "OMG-I001"
        other = await at.tenant("staging")
        assert await at.refusal("directory.user", {"user": eve["user"]}, at.owner(other)) == "OMG-I003"

    installed(work)


@pytest.mark.slow
def test_users_are_found_by_filters_and_pages_and_names_are_unique(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        for name in ("ada", "bob", "cyd"):
            about = {"user_name": f"{name}@x.org", "emails": [{"value": f"{name.title()}@x.org"}], "active": name != "cyd"}
            await at.ask("directory.create_user", about, owner)

        async def found(**asked: Any) -> list[str]:
            page = await at.ask("directory.users", asked, owner)
            return [page["total"], *(each["user_name"][:3] for each in page["users"])]

        compared = {"attribute": "user_name", "op": "eq", "value": "BOB@x.org"}
        assert await found(filter=compared) == [1, "bob"]
        assert await found(filter={"none": [compared]}) == [2, "ada", "cyd"]
        assert await found(filter={"attribute": "emails", "op": "eq", "value": "ada@x.org"}) == [1, "ada"]
        assert await found(filter={"attribute": "emails", "op": "eq", "value": "da@x.org"}) == [0]
        assert await found(filter={"attribute": "user_name", "op": "co", "value": "%"}) == [0], "no wildcard of the database"
        active = {"attribute": "active", "op": "eq", "value": "true"}
        either = {"any": [compared, {"attribute": "display_name", "op": "pr"}]}
        assert await found(filter={"all": [active, either]}) == [1, "bob"]
        assert await found(start=2, count=1) == [3, "bob"] and await found(count=0) == [3]
        assert await at.refusal("directory.users", {"filter": {"attribute": "root", "value": "x"}}, owner) == "OMG-I001"
        assert await at.refusal("directory.create_user", {"user_name": "ADA@x.org"}, owner) == "OMG-I001"
        deep: dict[str, Any] = compared
        for _ in range(8):
            deep = {"none": [deep]}
        assert await at.refusal("directory.users", {"filter": deep}, owner) == "OMG-I001"

    installed(work)


@pytest.mark.slow
def test_a_users_document_is_good_only_where_it_was_sealed_and_goes_with_the_tenant(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner, store = at.owner(tenant), at.omega.store
        ada = await at.ask("directory.create_user", ADA, owner)
        bob = await at.ask("directory.create_user", {"user_name": "bob", "roles": ["owner"]}, owner)
        _, users = _exchange(at)
        place, theirs = document_name(tenant, ada["principal"]), document_name(tenant, bob["principal"])
        store.put_document(USER, place, store.document(USER, theirs) or b"", 1)
        with pytest.raises(IntegrityError):
            users.standing(tenant, ada["principal"])
        assert sealed(place, {}, at.omega.world.keyring) != sealed(place, {}, at.omega.world.keyring)
        person = at.omega.settings.person
        assert await at.refusal("directory.create_user", {"user_name": person}) == "OMG-I001", (
            "the person of the installation is nobody's user"
        )
        await at.ask("tenancy.suspend", {"tenant": tenant, "reason": "over"})
        await at.ask("tenancy.delete", {"tenant": tenant, "export": "0" * 64})
        assert store.documents(USER, f"{tenant} ") == []

    installed(work)


def test_a_change_is_refused_when_somebody_else_was_quicker(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        ada = await at.ask("directory.create_user", ADA, owner)
        change = {"user": ada["user"], "about": ADA | {"display_name": "Ada"}, "version": 1}
        changed = await asyncio.gather(*(at.refusal("directory.change_user", change, owner) for _ in range(2)))
        assert sorted(changed) == ["", "OMG-I005"]

    installed(work)


async def _hold(at: Installation, tenant: str, principal: str) -> None:
    """Have somebody leave a secret for tool servers and enrol an authenticator app."""
    store, keyring = at.omega.store, at.omega.world.keyring
    body = credentials.sealed(keyring, tenant, principal, "github", "a secret of theirs")
    place = credentials.document_name(tenant, principal, "github")
    store.put_document(credentials.CREDENTIAL, place, json.dumps(body).encode(), at.now_us)
    factor = mfa.enrolment(bytes(range(20)), keyring, mfa.name_of(tenant, principal))
    store.put_document(mfa.FACTOR, mfa.name_of(tenant, principal), json.dumps(factor).encode(), at.now_us)


def _held(at: Installation, tenant: str, principal: str) -> list[bool]:
    store = at.omega.store
    secret = store.document(credentials.CREDENTIAL, credentials.document_name(tenant, principal, "github"))
    return [secret is not None, store.document(mfa.FACTOR, mfa.name_of(tenant, principal)) is not None]


@pytest.mark.slow
@pytest.mark.promise("SSO-09")
def test_nobody_but_an_owner_makes_a_user_of_somebody_who_is_there(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        exchange, _ = _exchange(at)
        admin = at.passport(tenant, "agent:scim", ("admin", "member"), ("flows:run", "directory:*", "users:use"))
        _, key = await at.key(tenant, "person:boss", roles=["owner"], capabilities=["*"])
        await _hold(at, tenant, "person:cyd")
        for name in ("boss", "BOSS", "cyd"):
            assert await at.refusal("directory.create_user", {"user_name": name}, admin) == "OMG-I001", name
        assert (await at.ask("directory.users", {}, admin))["total"] == 0, "nothing was made"
        verify = at.omega.world.authority.verify
        assert verify(exchange.passport_of_key(key), now=at.now_us / 1e6).groups == {"owner"}
        boss = await at.ask("directory.create_user", {"user_name": "boss", "roles": ["member"]}, at.owner(tenant))
        scope = verify(exchange.passport_of_key(key), now=at.now_us / 1e6)
        assert scope.groups == frozenset() and scope.capabilities == {"flows:run", "records:read"}, "what the user may, of what the key has"
        assert boss["principal"] == "person:boss"

    installed(work)


@pytest.mark.slow
@pytest.mark.promise("SSO-09")
def test_who_is_not_published_takes_nothing_from_whoever_has_the_name(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        _, users = _exchange(at)
        serve = _serving(at)
        one = _stands("usr_1", version=1)
        await at.key(tenant, "person:ada", roles=["owner"])
        with pytest.raises(InputError):
            await serve(tenant, PublishUsers(users=[one]))
        assert users.standing(tenant, "person:ada") is None, "a key came between the look and the step"
        await serve(tenant, WithdrawUser(user="usr_1", principal="person:ada", root=one["root"]))
        assert len(at.omega.store.documents(API_KEY)) == 1

    installed(work)


@pytest.mark.slow
@pytest.mark.promise("SSO-09")
def test_a_name_that_comes_again_inherits_nothing(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        ada = await at.ask("directory.create_user", ADA, owner)
        await at.key(tenant, ada["principal"])
        for whose in (ada["principal"], "person:bob"):
            await _hold(at, tenant, whose)
        await at.ask("directory.delete_user", {"user": ada["user"]}, owner)
        assert _held(at, tenant, ada["principal"]) == [False, False] and _held(at, tenant, "person:bob") == [True, True]
        admin = at.passport(tenant, "agent:scim", ("admin",), ("flows:run", "directory:*", "users:use"))
        again = await at.ask("directory.create_user", ADA, admin)
        assert again["principal"] == f"person:{again['user']}" and again["user_name"] == ADA["user_name"]

    installed(work)


@pytest.mark.slow
@pytest.mark.promise("SSO-09")
def test_no_user_is_ever_a_principal_that_another_one_was(installed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(at: Installation) -> None:
        tenant, store = await at.tenant(), at.omega.store
        owner = at.owner(tenant)
        _, users = _exchange(at)

        def passport(principal: str) -> str:
            return str(at.exchange.passport_of_person(users.bearer(tenant, principal, "local")))

        boss = await at.ask("directory.create_user", {"user_name": "boss", "roles": ["owner"]}, owner)
        assert boss["principal"] == "person:boss"
        await at.ask("memory.remember", {"agent": "helper", "text": "the vault code is 4711"}, passport("person:boss"))
        seen = {boss["principal"]}
        for name in ("boss", "BOSS", "boss"):
            await at.ask("directory.delete_user", {"user": boss["user"]}, owner)
            boss = await at.ask("directory.create_user", {"user_name": name, "roles": ["owner"]}, owner)
            assert boss["principal"] not in seen
            seen.add(boss["principal"])
            assert await at.ask("memory.recall", {"agent": "helper", "words": "vault"}, passport(boss["principal"])) == []
        assert len(store.documents(FORMER, f"{tenant} ")) == 1, "one who was their id leaves nothing"
        assert not any("boss" in name or body for name, body in store.documents(FORMER)), "nobody is named by it"
        elsewhere = await at.tenant("staging")
        assert (await at.ask("directory.create_user", {"user_name": "boss"}, at.owner(elsewhere)))["principal"] == "person:boss"
        renamed = await at.ask("directory.create_user", {"user_name": "cyd"}, owner)
        await at.ask("directory.change_user", {"user": renamed["user"], "about": {"user_name": "cyd2"}}, owner)
        other = await at.ask("directory.create_user", {"user_name": "cyd"}, owner)
        assert other["principal"] == f"person:{other['user']}", "and none that a living one is"
        serve = _serving(at)
        with pytest.raises(InputError):
            await serve(tenant, PublishUsers(users=[_stands("usr_9", version=1, principal="person:boss")], over=True))
        monkeypatch.setattr("omega.host.former.MAX_FORMER", 1)
        eve = await at.ask("directory.create_user", {"user_name": "eve"}, owner)
        assert eve["principal"] == f"person:{eve['user']}", "a tenant uses up so many names and no more"
        await at.ask("tenancy.suspend", {"tenant": tenant, "reason": "over"})
        await at.ask("tenancy.delete", {"tenant": tenant, "export": "0" * 64})
        assert store.documents(FORMER) == []

    installed(work)


def _serving(at: Installation) -> Callable[[str, Request], Awaitable[Any]]:
    """Has the effector of the host serve a request of a tenant, as the warden would let it."""
    world = at.omega.world
    effector = UsersEffector(at.omega.store, world.keyring, world.authority, world.clock.now_us, "somebody-else")

    class Permitted:
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant

        def spend(self, port: str) -> None:
            assert port == "users"

    async def serve(tenant: str, request: Request) -> Any:
        return (await effector.perform(cast("Any", Permitted(tenant)), request, execution="exe_1", step="s/1"))[0]

    return serve


def _stands(user: str, version: int, **more: Any) -> dict[str, Any]:
    none: list[str] = []
    usual = {"principal": "person:ada", "root": user, "active": True, "roles": none, "groups": none, "capabilities": none}
    return usual | {"user": user, "version": version, **more}


@pytest.mark.slow
@pytest.mark.promise("SSO-10")
def test_rights_that_were_taken_away_do_not_come_back_with_an_earlier_look(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        _, users = _exchange(at)
        serve = _serving(at)

        def roles() -> tuple[str, ...]:
            found = users.standing(tenant, "person:ada")
            return () if found is None else found.roles

        await serve(tenant, PublishUsers(users=[_stands("usr_1", 3)]))
        await serve(tenant, PublishUsers(users=[_stands("usr_1", 2, roles=["admin"])]))
        assert roles() == (), "the earlier look comes later"
        await serve(tenant, PublishUsers(users=[_stands("usr_1", 4, roles=["member"])]))
        assert roles() == ("member",)
        await serve(tenant, WithdrawUser(user="usr_1", principal="person:ada", root="usr_1"))
        await serve(tenant, PublishUsers(users=[_stands("usr_1", 9, roles=["admin"])]))
        assert users.standing(tenant, "person:ada") is None, "nor does somebody who was deleted"
        with pytest.raises(InputError):
            await serve(tenant, PublishUsers(users=[_stands("usr_2", 1, roles=["viewer"])]))
        assert roles() == (), "nor is another one let in as them"
        await serve(tenant, PublishUsers(users=[_stands("usr_3", 1, principal="person:bob")]))
        await serve(tenant, WithdrawUser(user="usr_1", principal="person:bob", root="usr_1"))
        assert users.standing(tenant, "person:bob") is not None, "and nobody is deleted with somebody else"

    installed(work)


@pytest.mark.slow
@pytest.mark.promise("SSO-10")
def test_whatever_concerns_a_user_makes_their_standing_a_later_one(installed: Run) -> None:
    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        _, users = _exchange(at)
        ada = (await at.ask("directory.create_user", ADA, owner))["user"]
        seen = [0]

        async def later(roles: set[str]) -> None:
            standing = users.standing(tenant, "person:ada@example.com")
            assert standing is not None and standing.version > seen[-1] and set(standing.roles) == roles
            seen.append(standing.version)

        await later(set())
        group = await at.ask("directory.create_group", {"display_name": "Some", "roles": ["viewer"], "members": [ada]}, owner)
        await later({"viewer"})
        about = {"display_name": "Some", "roles": ["member"]}
        await at.ask("directory.change_group", {"group": group["group"], "about": about}, owner)
        await later({"member"})
        await at.ask("directory.change_group", {"group": group["group"], "remove": [ada]}, owner)
        await later(set())
        await at.ask("directory.change_group", {"group": group["group"], "add": [ada]}, owner)
        await later({"member"})
        await at.ask("directory.delete_group", {"group": group["group"]}, owner)
        await later(set())

    installed(work)


@pytest.mark.slow
@pytest.mark.promise("SSO-03")
def test_what_was_weighed_is_what_is_changed(installed: Run) -> None:
    """An owner gives a role between the look at a user or a group and the change by an admin, who has it not."""

    async def work(at: Installation) -> None:
        tenant = await at.tenant()
        owner = at.owner(tenant)
        ada = (await at.ask("directory.create_user", ADA, owner))["user"]
        group = (await at.ask("directory.create_group", {"display_name": "Some", "roles": ["owner"], "members": [ada]}, owner))["group"]
        tables = open_tables(at.omega.settings.home, at.omega.settings.store.dsn)

        async def refused(change: str, **values: Any) -> None:
            turn = Turn(tenant=tenant, execution=f"exe_{change}", step="s/1", epoch=1, at_us=at.now_us)
            with pytest.raises(InputError) as raised:
                await tables.change(SCHEMA, change, {"version": 0, "changed_us": 1, **values}, turn)
            assert raised.value.code == "OMG-I005"

        about = {"user_name": "ada", "display_name": "", "given_name": "", "family_name": "", "external_id": ""}
        said = about | {"emails": [], "active": True, "roles": [], "root": "usr_2"}
        await refused("change_user", id=ada, weighed=["member"], **said)
        await refused("drop_user", id=ada, weighed=[])
        await refused("change_group", id=group, weighed={"roles": []}, about=None, add=[ada], remove=[])
        await refused("drop_group", id=group, weighed={"roles": ["admin"]})
        assert (await at.ask("directory.group", {"group": group}, owner))["version"] == 1

    installed(work)
