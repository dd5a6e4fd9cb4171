"""Where the tables lie in a data folder."""

from __future__ import annotations

from typing import Final

DATABASE: Final = "tables.db"
"""The file of the tables of all features, beside the records."""
