"""What every other folder may use: errors, files, the clock, and the records of ideas."""
