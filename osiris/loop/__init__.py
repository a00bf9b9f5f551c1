"""The quality loop, one step a file, in the order of the day."""
