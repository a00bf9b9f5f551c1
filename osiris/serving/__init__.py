"""Servers that a person starts (the HTTP API, the review page), and the status of a workspace."""
