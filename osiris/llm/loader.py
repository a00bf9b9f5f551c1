"""Loading of the language models: one code path for the starters, a local folder and any model of the hub.

`starter` is resolved to the folder of a locally built model. Every other name is given to `from_pretrained` unchanged.
This module only attaches adapters; the adapter registry decides whether one may be served.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from osiris.config.settings import Settings, find_rank
from osiris.core.errors import NotFound
from osiris.llm.chat import end_of_answer, require_chat_template
from osiris.llm.completion import Completer, complete_texts
from osiris.llm.precision import Precision, choose_precision
from osiris.llm.sources import locate_model, missing_model_error
from osiris.llm.starter_recipe import ModelKind
from osiris.llm.suppress_output import suppress_output

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOAD_LOCK = threading.Lock()
"""Held while a model is loaded: transformers replaces parts of itself meanwhile, so two loads at once break both.

Lock order: a model's own lock first, then this one. So no thread waits for a model's lock while it holds this one.
"""
PEFT_DEFAULT_SLOT = "default"
"""Peft's own name for the only adapter of a model."""
BASE_ADAPTER = "base"
"""Adapter name of a drafter without an adapter."""


@dataclass
class SharedModel:
    """A model in memory, the adapters attached to it, and the lock under which it answers."""

    model: "PreTrainedModel"
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class Drafter:
    """A model that drafts ideas; `adapter` is a folder's name or `base`.

    Several drafters of `LocalModels` may share one model in memory; `activate` makes it answer as this drafter. `slot`
    is the name under which peft knows the adapter, `None` for the base.
    """

    shared: SharedModel
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    adapter: str
    slot: str | None = None

    @property
    def model(self) -> "PreTrainedModel":
        """The model in memory, with the adapter of the drafter that answered last.

        A drafter of `load_drafter` shares its model with no other, so there it is always this drafter's.
        """
        return self.shared.model

    @contextmanager
    def activate(self) -> Iterator["PreTrainedModel"]:
        """Yield the model with only this drafter's adapter in use; other drafters wait meanwhile.

        Raises `NotFound` if `LocalModels` has detached the adapter since.
        """
        with self.shared.lock:
            adapters = getattr(self.shared.model, "peft_config", {})
            if self.slot is None and adapters:
                # peft wraps the model when the first adapter is attached, so the base has to switch adapters off.
                with _as_peft(self.shared.model).disable_adapter():
                    yield self.shared.model
                return
            if self.slot is not None:
                if self.slot not in adapters:
                    raise NotFound(f"adapter {self.adapter} in memory", "it was detached", "serve it again")
                if _as_peft(self.shared.model).active_adapter != self.slot:
                    _as_peft(self.shared.model).set_adapter(self.slot, inference_mode=True)
            yield self.shared.model

    @contextmanager
    def completer(self, settings: Settings, seed: int) -> Iterator[Completer]:
        """Yield a function that continues texts; torch's random state starts from `seed` and is restored at the end."""
        import torch

        with self.activate() as model, torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            yield lambda texts: complete_texts(model, self.tokenizer, texts, settings)


@dataclass(frozen=True)
class Judge:
    """A model that scores ideas (Hermes)."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    name: str

    @contextmanager
    def completer(self, settings: Settings, _seed: int) -> Iterator[Completer]:
        """Yield a function that continues texts, always with the likeliest tokens."""
        import torch

        likeliest = settings.with_model(temperature=0)
        with torch.inference_mode():
            yield lambda texts: complete_texts(self.model, self.tokenizer, texts, likeliest)


@suppress_output()
def load_drafter(settings: Settings, adapter: Path | None = None, *, trainable: bool = False) -> Drafter:
    """Load `settings.model.base` afresh, with the adapter of a folder attached when one is given.

    `trainable` leaves the adapter's weights trainable. How the weights are kept is chosen in `osiris.llm.precision`.
    Raises `NotFound` if the base model cannot be loaded.
    """
    model, tokenizer = _load(settings.model.base, "drafter", settings, trainable)
    if adapter is None:
        model.train(trainable)
        return Drafter(SharedModel(model), tokenizer, settings.model.base, BASE_ADAPTER)
    with LOAD_LOCK:
        model = attach_adapter(model, adapter, PEFT_DEFAULT_SLOT, trainable=trainable)
    model.train(trainable)
    return Drafter(SharedModel(model), tokenizer, settings.model.base, Path(adapter).name, PEFT_DEFAULT_SLOT)


def attach_adapter(model: "PreTrainedModel", adapter: Path, slot: str, *, trainable: bool = False) -> "PreTrainedModel":
    """Attach the first adapter to a plain model, under the name `slot`, and return the model that peft wraps around it.

    The result is a `PeftModel`. It has every method of the wrapped model, which its declared type does not show.
    """
    from peft import PeftModel

    wrapped = PeftModel.from_pretrained(model, str(adapter), adapter_name=slot, is_trainable=trainable)
    return cast("PreTrainedModel", wrapped)


def _as_peft(model: "PreTrainedModel") -> "PeftModel":
    """The model itself, which peft has wrapped: only for a model with an adapter."""
    return cast("PeftModel", model)


def load_judge(settings: Settings) -> Judge:
    """Load `settings.model.judge`; raises `NotFound` if it cannot be loaded."""
    return Judge(*_load(settings.model.judge, "judge", settings, training=False), settings.model.judge)


def _load(
    name: str, kind: ModelKind, settings: Settings, training: bool
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = load_tokenizer(name, kind, settings)
    where, device = locate_model(name, kind, settings), _device_map()
    with LOAD_LOCK, suppress_output(), _named_load_errors(name):
        precision = choose_precision(settings, AutoConfig.from_pretrained(where), training)
        model = AutoModelForCausalLM.from_pretrained(where, device_map=device, **weight_options(precision))
    return model.eval(), tokenizer


def _device_map() -> "str | dict[str, int]":
    """Where a model goes: in one of several training processes, to the accelerator of its own."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    own = find_rank("LOCAL_RANK")
    return "auto" if own is None else {"": own}


def load_tokenizer(name: str, kind: ModelKind, settings: Settings) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model; its `model_max_length` is at most the number of the model's positions.

    Raises `NotFound` if it cannot be loaded, `BadInput` if it has no usable chat template.
    """
    from transformers import AutoTokenizer

    with suppress_output(), _named_load_errors(name):
        tokenizer = AutoTokenizer.from_pretrained(locate_model(name, kind, settings), padding_side="left")
    require_chat_template(tokenizer, name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or end_of_answer(tokenizer)
    tokenizer.model_max_length = min(tokenizer.model_max_length, _max_positions(locate_model(name, kind, settings)))
    return tokenizer


def _max_positions(where: str) -> int:
    """How many tokens a model has positions for. Many tokenizers have no such limit, and some folders no model."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(where).get_text_config()
    except (OSError, ValueError):
        return sys.maxsize
    return getattr(config, "max_position_embeddings", None) or sys.maxsize


@contextmanager
def _named_load_errors(name: str) -> Iterator[None]:
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except (OSError, HFValidationError) as error:
        raise missing_model_error(name, error) from error


def weight_options(precision: Precision) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that keep the weights as chosen; nf4 where that is 4 bits."""
    import torch
    from transformers import BitsAndBytesConfig

    if precision.weights != "4bit":
        return {"dtype": getattr(torch, precision.weights)}
    has_bfloat16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if has_bfloat16 else torch.float32,
    )
    return {"dtype": "auto", "quantization_config": nf4}
