"""A real OpenID provider, in a process of its own: prints its port, and ends when its input does."""

from __future__ import annotations

import sys

from oidc_provider_mock import User, run_server_in_thread

PEOPLE = [
    User(sub="u-ada", claims={"email": "ada@example.com", "email_verified": True, "name": "Ada", "groups": ["eng", "boss"]}),
    User(sub="u-eve", claims={"email": "eve@elsewhere.org", "email_verified": True}),
    User(sub="u-sly", claims={"email": "sly@example.com", "email_verified": False}),
    *(
        User(sub=sub, claims={"email": email, "email_verified": email.endswith("@example.com"), "preferred_username": name})
        for sub, email, name in (
            ("u-mal", "mal@example.com", "boss@example.com"),
            ("u-boss", "boss@example.com", "Boss@example.com"),
            ("u-chief", "chief@example.com", "chief@example.com"),
            ("u-keyed", "keyed@example.com", "keyed"),
            ("u-lin", "lin@elsewhere.org", "lin"),
            ("u-far", "far@example.com", "far@elsewhere.org"),
        )
    ),
]

if __name__ == "__main__":
    with run_server_in_thread(user_claims=PEOPLE) as server:
        print(server.server_port, flush=True)
        sys.stdin.read()
