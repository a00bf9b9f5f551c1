"""A person's decisions on ideas, and the lists of ideas that the review page asks for."""
