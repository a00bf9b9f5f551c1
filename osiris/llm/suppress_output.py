"""Silence for what transformers and bitsandbytes say while they load, which tells a user of Osiris nothing."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NOISY_LOGGERS = ("bitsandbytes", "bitsandbytes.backends.cpu.ops", "transformers.integrations.hub_kernels")


@contextmanager
def suppress_output() -> Iterator[None]:
    """Switch progress bars, deprecation notes and advice on faster kernels off for a while."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    levels = [(logger, logger.level) for logger in map(logging.getLogger, NOISY_LOGGERS)]
    for logger, _ in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
        if shown:
            transformers_logging.enable_progress_bar()
