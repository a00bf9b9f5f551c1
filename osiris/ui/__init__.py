"""The user interface in notebooks (widgets, plots, tables) and the printing of reports on a terminal."""
