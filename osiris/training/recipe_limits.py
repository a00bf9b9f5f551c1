"""The arguments that a recipe may set, and their limits; everything else is refused before a training starts.

An adapter must be plain LoRA: two matrices for each layer, over a base that never changes. Some initializations rewrite
the base (OLoRA, PiSSA, LoftQ, CorDA), and some options add further parts. Both would change the replies of the base and
of all other adapters.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from osiris.adapters.manifest import MAX_SCALE, Initialization, scaling

ModuleName = Annotated[str, Field(min_length=1)]


class LoraArguments(BaseModel):
    """The arguments of `peft.LoraConfig` that a recipe may give."""

    model_config = ConfigDict(extra="forbid")

    r: Annotated[int, Field(ge=1, le=1024)]
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 8
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1)] = "all-linear"
    use_rslora: bool = False
    init_lora_weights: Initialization = True
    bias: Literal["none"] = "none"
    task_type: Literal["CAUSAL_LM"] = "CAUSAL_LM"

    @model_validator(mode="after")
    def _check_scale(self) -> "LoraArguments":
        if scaling(self.r, self.lora_alpha, self.use_rslora) > MAX_SCALE:
            raise ValueError(f"lora_alpha {self.lora_alpha:g} with r {self.r} scales by more than {MAX_SCALE:g}")
        return self


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
LossWeights = Annotated[list[NonNegative], Field(min_length=1)]
TRAINER_LIMITS: dict[str, Any] = {
    "beta": Positive,
    "learning_rate": Positive,
    "num_train_epochs": Positive,
    "max_steps": Literal[-1] | Count,
    "per_device_train_batch_size": Count,
    "per_device_eval_batch_size": Count,
    "gradient_accumulation_steps": Count,
    "max_length": Count | None,
    "loss_weights": LossWeights | None,
    "desirable_weight": Positive,
    "undesirable_weight": Positive,
    "label_smoothing": Annotated[float, Field(ge=0, lt=0.5)],
    "ld_alpha": Share | None,
    "weight_decay": NonNegative,
    "max_grad_norm": NonNegative,
    "warmup_ratio": Share | None,
    "warmup_steps": NonNegative,
    "adam_beta1": Annotated[float, Field(ge=0, lt=1)],
    "adam_beta2": Annotated[float, Field(ge=0, lt=1)],
    "adam_epsilon": Positive,
    "logging_steps": Positive,
}
"""Ranges of the trainers' numbers, needed because TRL accepts any number."""
TOKEN_ARGUMENTS = frozenset(
    {
        "assistant_only_loss", "chat_template_path", "dataset_kwargs", "dataset_text_field", "eos_token", "pad_token",
        "packing", "packing_strategy", "eval_packing", "padding_free", "model_init_kwargs", "truncation_mode",
    }
)  # fmt: skip
"""Arguments that change the tokens or the model, so that a model would be trained otherwise than it drafts."""


def argument_type(method: str, key: str, hint: Any) -> Any:
    """The type of the trainer's argument `key`, narrowed to sensible values.

    KTO needs batches of at least two, since it compares the replies of a batch.
    """
    if method == "kto" and key.startswith("per_device_"):
        return Annotated[int, Field(ge=2)]
    return TRAINER_LIMITS.get(key, hint)


def boolean_mismatch(value: Any, hint: Any) -> str:
    """The error for a truth value in place of a number, or a number in place of a truth value; empty if there is none.

    Pydantic would convert one into the other without an error.
    """
    if isinstance(value, list):
        return next(filter(None, (boolean_mismatch(one, hint) for one in value)), "")
    kinds = _kinds(hint)
    if isinstance(value, bool) and bool not in kinds:
        return "Input should be a number, not a truth value"
    if kinds <= {bool, type(None)} and value is not None and not isinstance(value, bool):
        return "Input should be true or false"
    return ""


def _kinds(hint: Any) -> set[Any]:
    """The plain types of a hint, from all parts of its unions and lists."""
    inner = [part for part in get_args(hint) if not isinstance(part, bool | str | int)]
    return set().union(*map(_kinds, inner)) if inner else {type(a) for a in get_args(hint)} or {hint}
