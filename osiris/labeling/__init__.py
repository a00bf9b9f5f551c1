"""Labels: whether the price of an idea first touched its target or its stop, and the outcome that follows."""
