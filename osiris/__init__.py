"""Osiris: a research workspace in which the model that drafts trade advice learns from what happens to it."""

__version__ = "0.1.0"
