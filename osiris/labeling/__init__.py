"""Outcomes: which barrier an idea's price touched first, and what that makes of the idea."""
