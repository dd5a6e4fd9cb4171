"""OpenAPI documents as tools: what they offer, how arguments become a request, what an answer is worth. Pure: nothing is fetched."""

from omega.wire.openapi.exchange import Prepared, prepare, result_of
from omega.wire.openapi.operations import Interface, Operation, Parameter, read_interface
from omega.wire.openapi.pins import IN_QUERY, Pins
from omega.wire.openapi.schemas import Unfit

__all__ = ["IN_QUERY", "Interface", "Operation", "Parameter", "Pins", "Prepared", "Unfit", "prepare", "read_interface", "result_of"]
