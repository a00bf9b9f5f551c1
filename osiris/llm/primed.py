"""Primed models: pretrained models that were taught to draft, kept in the cache beside what they were made from.

`osiris models prime` makes one (`osiris/training/primer.py`). With `model.primed = true` it takes the place of
`model.base`, and every adapter descends from it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from osiris.core.errors import NotFound
from osiris.core.ideas import REPLY_KEYS
from osiris.llm.prompts import SHIPPED_PROMPTS, shipped_names

PRIMER_FILE = "primer.json"
"""What a primed model was made from, and how it drafted afterwards."""
PRIMER_ADAPTER = "primer"
"""The folder in that of a primed model with the adapter that was merged into it."""
UNUSED_TEMPLATES = ("hermes", "patch")
"""Templates that the primer's prompts do not use."""


@dataclass(frozen=True)
class PrimerRecipe:
    """Everything that a primer depends on but the model; raise `version` when the code that trains it changes.

    `situations` are read one after the other, with all replies to each, and `batch` of them make a step. With four to a
    step, as many situations teach less: the steps are what a model needs to write sides that agree with their reasons.
    `balance_weight` is that of the squared difference, in nats, between buying and selling for the same reason.
    """

    seed: int = 0
    version: int = 2
    situations: int = 144
    batch: int = 1
    learning_rate: float = 1e-3
    rank: int = 16
    decision_weight: float = 4.0
    balance_weight: float = 0.1


def primed_folder(base_hash: str, recipe: PrimerRecipe, cache: Path) -> Path:
    """Return where the cache keeps the primed model of a base, whether or not it is there."""
    templates = SHIPPED_PROMPTS.hash([name for name in shipped_names() if name not in UNUSED_TEMPLATES])
    parts = [base_hash, asdict(recipe), templates, REPLY_KEYS]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return cache.expanduser() / f"primed-{key}"


def require_primed(folder: Path, name: str) -> Path:
    """Return the folder of a primed model; raises `NotFound` if it was not made yet."""
    if not folder.is_dir():
        raise NotFound(f"the primed model of {name}", "none in model.cache", "make it once with: osiris models prime")
    return folder
