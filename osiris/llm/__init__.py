"""The language models: loading, drafting, judging, and the small starter models."""

import logging

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# bitsandbytes advises a faster CPU kernel at its first import. In a notebook that advice looks like a failure.
