"""What is supported, in SCIM's own words (RFC 7643, 5 to 7): the configuration, the types of resources, and the attributes of each."""

from __future__ import annotations

from typing import Any, Final

from omega.wire.scim.resources import GROUP, PREFIX, USER

_CONFIG: Final = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_TYPE: Final = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Schema"


def configuration(base: str, most: int) -> dict[str, Any]:
    """The service provider's configuration; `most` resources are in one answer."""
    return {
        "schemas": [_CONFIG],
        "documentationUri": f"{base}/api/docs",
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": most},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "API key",
                "description": "an API key of the tenant, sent as a bearer token",
                "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}{PREFIX}/ServiceProviderConfig"},
    }


def types(base: str) -> list[dict[str, Any]]:
    """The types of resources."""
    found = []
    for name, schema in (("User", USER), ("Group", GROUP)):
        found.append(
            {
                "schemas": [_TYPE],
                "id": name,
                "name": name,
                "endpoint": f"/{name}s",
                "description": f"a {name.lower()} of the tenant",
                "schema": schema,
                "meta": {"resourceType": "ResourceType", "location": f"{base}{PREFIX}/ResourceTypes/{name}"},
            }
        )
    return found


def schemas(base: str) -> list[dict[str, Any]]:
    """The attributes of each type of resource."""
    return [
        {
            "schemas": [_SCHEMA],
            "id": schema,
            "name": name,
            "description": f"a {name.lower()} of the tenant",
            "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": f"{base}{PREFIX}/Schemas/{schema}"},
        }
        for name, schema, attributes in (("User", USER, _USER), ("Group", GROUP, _GROUP))
    ]


def _attribute(name: str, description: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "type": kind,
        "multiValued": False,
        "description": description,
        "required": False,
        "mutability": "readWrite",
        "returned": "default",
    }
    if kind == "string":
        found |= {"caseExact": False, "uniqueness": "none"}
    return found | more


def _reference(name: str, description: str, *types: str, **more: Any) -> dict[str, Any]:
    return _attribute(name, description, "reference", referenceTypes=list(types), caseExact=True, uniqueness="none", **more)


_SHOWN: Final = {"mutability": "readOnly"}
_USER: Final = [
    _attribute("userName", "what the user is called, once in the tenant", required=True, uniqueness="server"),
    _attribute(
        "name",
        "the parts of the user's name",
        "complex",
        subAttributes=[
            _attribute("givenName", "the given name"),
            _attribute("familyName", "the family name"),
        ],
    ),
    _attribute("displayName", "the name that people are shown"),
    _attribute("active", "whether the user is let in", "boolean", required=True),
    _attribute(
        "emails",
        "addresses",
        "complex",
        multiValued=True,
        subAttributes=[
            _attribute("value", "the address"),
            _attribute("type", "what the address is for", canonicalValues=["work", "home", "other"]),
            _attribute("primary", "whether it is the one to write to", "boolean"),
        ],
    ),
    _attribute(
        "groups",
        "groups that the user is in",
        "complex",
        multiValued=True,
        **_SHOWN,
        subAttributes=[
            _attribute("value", "the id of the group", caseExact=True, **_SHOWN),
            _reference("$ref", "where the group is", "Group", **_SHOWN),
            _attribute("display", "the name of the group", **_SHOWN),
            _attribute("type", "direct", canonicalValues=["direct"], **_SHOWN),
        ],
    ),
]
_GROUP: Final = [
    _attribute("displayName", "what the group is called, once in the tenant", required=True, uniqueness="server"),
    _attribute(
        "members",
        "users in the group",
        "complex",
        multiValued=True,
        subAttributes=[
            _attribute("value", "the id of the user", caseExact=True, mutability="immutable"),
            _reference("$ref", "where the user is", "User", mutability="immutable"),
            _attribute("type", "User", canonicalValues=["User"], mutability="immutable"),
        ],
    ),
]
