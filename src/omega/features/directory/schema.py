"""The directory's tables, with every change of them and every question to them by name."""

from __future__ import annotations

from omega.features.directory import store
from omega.features.directory.arriving import arrive, knows
from omega.features.directory.filtering import TABLES
from omega.kernel.ports import Schema

SCHEMA = Schema(
    name="directory",
    version=1,
    tables=TABLES,
    changes={
        "create_user": store.create_user,
        "change_user": store.change_user,
        "arrive": arrive,
        "drop_user": store.drop_user,
        "create_group": store.create_group,
        "change_group": store.change_group,
        "drop_group": store.drop_group,
        "erase": store.erase,
    },
    looks={
        "show_user": store.show_user,
        "list_users": store.list_users,
        "standing_users": store.standing_users,
        "show_group": store.show_group,
        "list_groups": store.list_groups,
        "named": store.named,
        "told": store.told,
        "knows": knows,
    },
)
