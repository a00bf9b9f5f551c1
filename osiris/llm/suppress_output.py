"""Suppress the messages of transformers and bitsandbytes while they load: they tell a user of Osiris nothing."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

NOISY_LOGGERS = ("bitsandbytes", "bitsandbytes.backends.cpu.ops", "transformers.integrations.hub_kernels")


@contextmanager
def suppress_output() -> Iterator[None]:
    """Switch off progress bars, deprecation warnings and advice on faster CPU kernels inside a `with` block."""
    from transformers.utils import logging as transformers_logging

    had_progress_bars = transformers_logging.is_progress_bar_enabled()
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
        if had_progress_bars:
            transformers_logging.enable_progress_bar()
