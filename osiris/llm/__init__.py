"""The language models: loading, drafting, judging, and the small starter models."""
