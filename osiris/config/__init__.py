"""The settings of a workspace, and the tables of `osiris.toml`."""
