"""Types that several folders use."""

from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
"""A stored or sent record: column names and their values."""
