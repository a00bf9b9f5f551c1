"""Everything about prices: calendars, bars, their sources, and where they cannot be trusted."""
