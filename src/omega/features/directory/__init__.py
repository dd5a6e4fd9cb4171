"""The directory: the people of a tenant who sign in, the groups they are in, and what the groups may do."""

from omega.kernel.service import Manifest, Personal

manifest = Manifest(
    name="directory",
    version="1.0.0",
    summary="users, groups and membership, as the gate sees them",
    home="omega.features.directory.service:Directory",
    tables="omega.features.directory.schema:SCHEMA",
    personal=Personal(named="named", told="told", erase="erase"),
)
