"""The form of a workspace's prompts: which blocks they show, in which templates, and the version of both."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from osiris.config.sections import ALL_BLOCKS, BlockName
from osiris.config.settings import Settings
from osiris.core.ideas import stable_hash
from osiris.llm.prompts import Prompts
from osiris.llm.sources import is_starter
from osiris.policy.contracts import WARM_UP_BARS

PROMPT_TEMPLATES = ("advise", "snapshot", "system")
"""The templates of every prompt; each block but `features` has one more of its own, `block_NAME`."""
OPTIONAL_BLOCKS: tuple[BlockName, ...] = ("examples",)
"""Blocks that are shown only where the settings name them."""


MAX_BLOCK_SESSIONS = 280
"""Sessions that the blocks of bars look back, at most: a year, and what its first ATR needs before it."""


@dataclass(frozen=True)
class PromptForm:
    """The form of the prompts that the settings of a workspace ask for, in its own templates or in `templates`."""

    settings: Settings
    templates: Prompts | None = None

    @cached_property
    def blocks(self) -> tuple[BlockName, ...]:
        """The blocks of a prompt, the most important first."""
        chosen = self.settings.context.blocks
        if chosen:
            return tuple(chosen)
        if is_starter(self.settings.model.base):
            return ("features",)
        return tuple(block for block in ALL_BLOCKS if block not in OPTIONAL_BLOCKS)

    @cached_property
    def prompts(self) -> Prompts:
        """The templates of the prompts."""
        return self.templates or Prompts(self.settings.prompts)

    @cached_property
    def version(self) -> str:
        """16 hex digits over the templates, and the blocks with their settings.

        Ideas, datasets, adapters and MLflow runs carry it. Two adapters with one version were shown alike prompts.
        """
        names = [*PROMPT_TEMPLATES, *(f"block_{block}" for block in self.blocks if block != "features")]
        settings = self.settings.context.model_dump(mode="json") | {"blocks": self.blocks}
        return stable_hash("prompts", self.prompts.hash(names), json.dumps(settings, sort_keys=True))[:16]

    @property
    def is_plain(self) -> bool:
        """Whether prompts are the shipped ones with the features alone, which need nothing but bars."""
        return self.blocks == ("features",) and not self.prompts.replaced

    @property
    def look_back(self) -> int:
        """How many sessions of bars a prompt may show, at most."""
        return WARM_UP_BARS if self.blocks == ("features",) else MAX_BLOCK_SESSIONS

    def with_blocks(self, blocks: Sequence[BlockName]) -> "PromptForm":
        """The same form with other blocks."""
        context = self.settings.context.model_copy(update={"blocks": list(blocks)})
        return replace(self, settings=self.settings.model_copy(update={"context": context}))
