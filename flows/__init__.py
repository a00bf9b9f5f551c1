"""Order, retries and schedules; no logic of the domain."""
