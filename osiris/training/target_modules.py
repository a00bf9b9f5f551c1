"""The layers of a model that a recipe's adapter changes."""

from pathlib import Path
from typing import Any

from osiris.core.errors import BadInput
from osiris.training.recipe import Recipe

SHARED_LORA_KEYS = ("r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "rank_pattern", "alpha_pattern")
"""Arguments of LoRA in which a parent adapter must equal the recipe, whether the recipe sets them or not."""


def require_targets(model: Any, recipe: Recipe) -> None:
    """Raise `BadInput` for a target of the recipe that matches no linear layer, since peft would silently skip it."""
    layers = linear_layers(model)
    wanted = recipe.to_lora_config().target_modules
    if isinstance(wanted, str):
        return
    missing = sorted(target for target in wanted if not any(_is(target, name) for name in layers))
    if missing:
        raise BadInput(
            f"lora.target_modules among {', '.join(sorted({name.rpartition('.')[2] for name in layers}))}",
            f"{', '.join(missing)}, which no linear layer of the model is called",
            f"correct recipe {recipe.name}, or write all-linear",
        )


def require_same_lora(model: Any, recipe: Recipe, parent: Path) -> None:
    """Check that the parent adapter, attached to `model`, has the recipe's shape; raises `BadInput` otherwise."""
    theirs, ours = model.peft_config["default"], recipe.to_lora_config()
    shapes = {key: (getattr(ours, key), getattr(theirs, key)) for key in SHARED_LORA_KEYS}
    # the layers are compared by their full names: one layer can be written as a name, a suffix or all-linear
    layers, wanted = linear_layers(model), ours.target_modules
    wanted_layers = (
        layers if isinstance(wanted, str) else [name for name in layers if any(_is(one, name) for one in wanted)]
    )
    shapes["target_modules"] = (wanted_layers, _adapted(model))
    for key, (our, their) in shapes.items():
        if our != their:
            raise BadInput(
                f"a parent adapter with the recipe's {key} {our}",
                f"{their} in {parent.name}",
                f"change recipe {recipe.name}, or start without a parent",
            )


def linear_layers(model: Any) -> list[str]:
    """Names of the linear layers, sorted, without the layers inside an adapter and the one that gives the logits."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    head, adapted = model.get_output_embeddings(), _adapted(model)
    inside = tuple(f"{name}." for name in adapted)  # an adapted layer holds linear layers of its own: base, A and B
    plain = [
        name
        for name, module in _named(model)
        if isinstance(module, Linear | Conv1D) and module is not head and not name.startswith(inside or ("/",))
    ]
    return sorted({*plain, *adapted})


def _adapted(model: Any) -> list[str]:
    from peft.tuners.lora import LoraLayer

    return sorted(name for name, module in _named(model) if isinstance(module, LoraLayer))


def _named(model: Any) -> Any:
    from peft import PeftModel

    return (model.get_base_model() if isinstance(model, PeftModel) else model).named_modules()


def _is(target: str, name: str) -> bool:
    """Whether a target matches a module's name, by the rule of peft: the whole name or its last parts."""
    return name == target or name.endswith(f".{target}")
