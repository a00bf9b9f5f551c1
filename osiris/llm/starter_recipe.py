"""The recipe of a starter model: everything that its weights depend on, and the key that names them in the cache."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from osiris.core.ideas import REPLY_KEYS
from osiris.llm import prompts

ModelKind = Literal["drafter", "judge"]
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
HASHED_TEMPLATES = ("advise.jinja", "hermes.jinja", "snapshot.jinja")
PROMPTS_FOLDER = Path(prompts.__file__).parent
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""That of Phi-3, so that a starter and the model it stands in for are asked in the same format."""


@dataclass(frozen=True)
class StarterRecipe:
    """Everything that a starter depends on; raise `version` when the code that trains it changes.

    The fields are stored in `recipe.json` and enter the key, so a new name or default means a new starter.
    """

    kind: ModelKind
    seed: int = 0
    version: int = 3
    steps: int = 850
    batch: int = 16
    learning_rate: float = 3e-3
    beta2: float = 0.999
    prompt_weight: float = 0.1
    decision_weight: float = 4.0
    vocabulary: int = 640
    hidden: int = 128
    intermediate: int = 320
    layers: int = 2
    heads: int = 4
    positions: int = 1024
    initializer_range: float = 0.08
    threads: int = 1


RECIPE_OVERRIDES: dict[ModelKind, dict[str, Any]] = {
    "drafter": {},
    "judge": {"steps": 1200, "batch": 8, "learning_rate": 2e-3, "beta2": 0.98, "prompt_weight": 0.01},
}
"""How the training of a kind differs. A judge answers with one token, which a prompt weight of 0.1 would drown."""


def starter_recipe(kind: ModelKind, seed: int = 0, **changes: Any) -> StarterRecipe:
    """Return the recipe of a starter, with fields changed by name."""
    return StarterRecipe(kind, seed, **(RECIPE_OVERRIDES[kind] | changes))


def recipe_key(recipe: StarterRecipe, templates: Path = PROMPTS_FOLDER) -> str:
    """Return 16 hex digits over the recipe, the prompt templates, the chat template and the keys of a reply."""
    texts = [(templates / name).read_text(encoding="utf-8") for name in HASHED_TEMPLATES]
    parts = [asdict(recipe), texts, CHAT_TEMPLATE, REPLY_KEYS]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
