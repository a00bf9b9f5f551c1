"""Types that several folders name."""

from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
"""A record as it is stored or sent, by the names of its columns."""
