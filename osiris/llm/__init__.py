"""The language models: loading, drafting, judging, and the small starter models."""

import logging

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
# At its first import, whoever imports it, it advises a faster kernel: on a page that advice looks like a failure.
