"""SCIM 2.0 (RFC 7643, RFC 7644): what identity providers send to say who is there, and what they are answered.

filters     the filter language: to data, and on a value at hand
patching    PATCH: operations on a resource, in the forms that providers really send
resources   users and groups between their SCIM form and the directory's
schemas     what is supported, in SCIM's own words
"""
