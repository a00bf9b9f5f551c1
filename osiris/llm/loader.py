"""Loading of the language models: one code path for the starters, a local folder and any model of the hub.

`starter` is resolved to the folder of a locally built model; every other name is given to `from_pretrained` as it is.
Whether an adapter may be served is decided elsewhere; here it is only attached.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from osiris.config.settings import Settings
from osiris.core.errors import NotFound
from osiris.llm.chat import end_of_answer, require_chat_template
from osiris.llm.completion import Completer, complete_texts
from osiris.llm.sources import locate_model, missing_model_error
from osiris.llm.starter import ModelKind
from osiris.llm.suppress_output import suppress_output

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

LOAD_LOCK = threading.Lock()
"""Held while a model is loaded: transformers puts parts of itself aside meanwhile, and two loads at once spoil both."""
BASE_ADAPTER = "base"
"""Adapter name of a drafter without adapter."""


@dataclass
class SharedModel:
    """A model in memory, the adapters attached to it, and the lock under which it answers."""

    model: "PreTrainedModel"
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass(frozen=True)
class Drafter:
    """A model that drafts ideas; `adapter` is a folder's name or `base`.

    Several drafters of one desk may share a shared; `active` makes the shared answer as this one.
    """

    shared: SharedModel
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    adapter: str
    slot: str | None = None

    @property
    def model(self) -> "PreTrainedModel":
        """The model in memory, as whichever drafter answered last; for a drafter of `load_drafter` always this one."""
        return self.shared.model

    @contextmanager
    def activate(self) -> Iterator["PreTrainedModel"]:
        """Yield the model with this drafter's adapter, and no other, in use; other drafters wait meanwhile.

        Raises `NotFound` when a desk has detached the adapter since.
        """
        with self.shared.lock:
            adapters = getattr(self.shared.model, "peft_config", {})
            if self.slot is None and adapters:
                with self.shared.model.disable_adapter():
                    yield self.shared.model
                return
            if self.slot is not None:
                if self.slot not in adapters:
                    raise NotFound(f"adapter {self.adapter} in memory", "it was detached", "serve it again")
                if self.shared.model.active_adapter != self.slot:
                    self.shared.model.set_adapter(self.slot, inference_mode=True)
            yield self.shared.model

    @contextmanager
    def completer(self, settings: Settings, seed: int) -> Iterator[Completer]:
        """Yield what writes on from texts; torch's random state begins from `seed` and is put back at the end."""
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
        """Yield what writes on from texts, always the likeliest."""
        import torch

        likeliest = settings.model_copy(update={"model": settings.model.model_copy(update={"temperature": 0})})
        with torch.inference_mode():
            yield lambda texts: complete_texts(self.model, self.tokenizer, texts, likeliest)


@suppress_output()
def load_drafter(settings: Settings, adapter: Path | None = None, *, trainable: bool = False) -> Drafter:
    """Load `settings.model.base` afresh, with the adapter of a folder attached when one is given.

    `trainable` leaves the adapter's weights trainable, and makes `quantize = "auto"` mean 4-bit on every device.
    Raises `NotFound` when the base model cannot be had.
    """
    model, tokenizer = _load(settings.model.base, "drafter", settings, trainable)
    name, slot = BASE_ADAPTER, None
    if adapter is not None:
        from peft import PeftModel

        with LOAD_LOCK:
            model = PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
        name, slot = Path(adapter).name, "default"
    model.train(trainable)
    return Drafter(SharedModel(model), tokenizer, settings.model.base, name, slot)


def load_judge(settings: Settings) -> Judge:
    """Load `settings.model.judge`; raises `NotFound` when it cannot be had."""
    return Judge(*_load(settings.model.judge, "judge", settings, training=False), settings.model.judge)


def _load(
    name: str, kind: ModelKind, settings: Settings, training: bool
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(name, kind, settings)
    device = "auto" if torch.cuda.is_available() else "cpu"
    with LOAD_LOCK, suppress_output(), _named_load_errors(name):
        model = AutoModelForCausalLM.from_pretrained(
            locate_model(name, kind, settings),
            dtype="auto",
            device_map=device,
            quantization_config=quantization_config(settings, training),
        )
    return model.eval(), tokenizer


def load_tokenizer(name: str, kind: ModelKind, settings: Settings) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model; its `model_max_length` is at most what the model has positions for.

    Raises `NotFound` when it cannot be had, `BadInput` when it has no usable chat template.
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
    """How many tokens a model has positions for; many tokenizers know no such limit, and some have no model by them."""
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


def quantization_config(settings: Settings, training: bool) -> "BitsAndBytesConfig | None":
    """Return the nf4 configuration that `model.quantize` asks for, or `None` for weights as they are.

    `auto` is 4-bit on CUDA and wherever a model is trained. For answers on a CPU it leaves the weights alone: 4-bit
    saves memory that a CPU mostly has and answers more slowly there.
    """
    import torch
    from transformers import BitsAndBytesConfig

    wanted = settings.model.quantize
    cuda = torch.cuda.is_available()
    if wanted == "none" or (wanted == "auto" and not (cuda or training)):
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float32,
    )
