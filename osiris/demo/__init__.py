"""`osiris demo`: the whole loop on a historical clock over real daily bars."""
