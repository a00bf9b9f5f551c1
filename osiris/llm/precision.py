"""How the weights of a model are kept in memory: as numbers of one type, or in 4 bits. `model.quantize` decides.

For example, SmolLM2 on a CPU: a layer in nf4 is unpacked at every pass, so a step of training takes many times as long
as with plain weights. With `auto`, each way that fits the memory is timed on layers of the model's own size, and the
fastest one is taken. The choice is kept in the cache, since a night that is run again has to train the same adapter.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from filelock import FileLock

from osiris.config.settings import Settings
from osiris.core.files import write_atomically
from osiris.core.ideas import stable_hash

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

log = logging.getLogger(__name__)
WeightType = Literal["float32", "bfloat16", "float16", "4bit"]
CHOICES_FILE = "precision.json"
SMALL_PARAMETERS = 50_000_000
"""Below this, 4 bits cost nothing that can be measured in a training (docs/benchmarks.md)."""
TIMED_TOKENS = 512
TIMED_STEPS = 3
TIMED_ROUNDS = 3
MIN_GAIN_OF_4BIT = 2
BYTES: dict[WeightType, float] = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "4bit": 0.6}
"""Bytes for each parameter; nf4 has 4 bits, the scales of its blocks, and layers that stay as they are."""
WORKING_SHARE = 0.6
"""The share of the free memory that weights may take; a training also needs activations and the optimizer's state."""


class Machine(NamedTuple):
    """What a choice depends on: the processor or accelerator, and its free memory in bytes."""

    name: str
    is_cuda: bool
    free_bytes: int


class Precision(NamedTuple):
    """How the weights are kept, and why."""

    weights: WeightType
    reason: str


def choose_precision(settings: Settings, config: "PretrainedConfig", training: bool) -> Precision:
    """Return how to keep the weights of a model with this configuration on this machine.

    A choice that was measured before is taken again, as long as the model, the machine and torch are the same, and as
    long as it fits the memory.
    """
    stored = stored_type(config)
    quantize = settings.model.quantize
    if quantize != "auto":
        return Precision("4bit" if quantize == "4bit" else stored, f'model.quantize = "{quantize}"')
    machine = describe_machine()
    if machine.is_cuda:
        return Precision("4bit", "an accelerator has fast 4-bit kernels")
    parameters = count_parameters(config)
    if parameters < SMALL_PARAMETERS:
        return Precision("4bit" if training else stored, f"{parameters / 1e6:.1f} million parameters need no care")
    return _recall(settings.model.cache.expanduser() / CHOICES_FILE, config, machine, stored, parameters)


def stored_type(config: "PretrainedConfig") -> WeightType:
    """Return the type in which a model was published, float32 where its configuration says nothing."""
    name = str(getattr(config, "dtype", None)).removeprefix("torch.")
    return "bfloat16" if name == "bfloat16" else "float16" if name == "float16" else "float32"


def fitting_types(parameters: int, free_bytes: int, stored: WeightType) -> list[WeightType]:
    """Return the ways to keep the weights that leave room to work; 4 bits alone where none does.

    A model that was published in 16 bits loses nothing in 32. One that was published in 32 bits is not rounded.
    float16 is left to accelerators: on a CPU it is slow, and training in it overflows.
    """
    ways: list[WeightType] = ["float32"] if stored == "float32" else ["float32", "bfloat16"]
    fitting = [way for way in ways if parameters * BYTES[way] <= WORKING_SHARE * free_bytes]
    return [*fitting, "4bit"]


def count_parameters(config: "PretrainedConfig") -> int:
    """Return the number of parameters of a model with this configuration; nothing is allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(weight.numel() for weight in model.parameters())


def describe_machine() -> Machine:
    """Return the processor, or the accelerator where there is one, and its free memory."""
    import platform

    import psutil
    import torch

    if torch.cuda.is_available():
        return Machine(torch.cuda.get_device_name(), True, torch.cuda.mem_get_info()[0])
    return Machine(platform.processor() or platform.machine(), False, psutil.virtual_memory().available)


def time_layers(config: "PretrainedConfig", weights: WeightType) -> float:
    """Return the seconds of a forward and a backward pass through two layers of the model's size, the best of three.

    The weights are frozen and the input has a gradient, as in the training of an adapter.
    """
    import torch

    text = config.get_text_config()
    hidden, inner = text.hidden_size, getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    model = torch.nn.Sequential(_make_linear(hidden, inner, weights), _make_linear(inner, hidden, weights))
    numbers = torch.bfloat16 if weights == "bfloat16" else torch.float32
    best = float("inf")
    for _ in range(TIMED_STEPS + 1):  # the first one also packs the weights
        given = torch.randn(TIMED_TOKENS, hidden, dtype=numbers, requires_grad=True)
        started = time.perf_counter()
        model(given).sum().backward()
        best = min(best, time.perf_counter() - started)
    return best


def _make_linear(inputs: int, outputs: int, weights: WeightType) -> "torch.nn.Module":
    import torch

    if weights == "4bit":
        from bitsandbytes.nn import Linear4bit

        return Linear4bit(inputs, outputs, bias=False, compute_dtype=torch.float32, quant_type="nf4").to("cpu")
    return torch.nn.Linear(
        inputs, outputs, bias=False, dtype=torch.bfloat16 if weights == "bfloat16" else torch.float32
    ).requires_grad_(False)


def _recall(file: Path, config: "PretrainedConfig", machine: Machine, stored: WeightType, parameters: int) -> Precision:
    """Return the choice in `file` for this model and machine; without one, measure and write it there."""
    import torch

    # a primed model, or a copy of a folder, is as fast as what it was made from
    shape = {name: value for name, value in config.to_dict().items() if not name.startswith("_")}
    key = stable_hash(json.dumps(shape, sort_keys=True, default=str), machine.name, torch.__version__)[:16]
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f"{file.name}.lock")):
        known, fitting = _read_choices(file), fitting_types(parameters, machine.free_bytes, stored)
        if key not in known or known[key]["weights"] not in fitting:
            chosen = _choose_fastest(fitting, lambda way: time_layers(config, way))
            log.info("the weights of the model are kept as %s: %s", *chosen)
            known[key] = chosen._asdict()
            write_atomically(file, json.dumps(known, indent=1, sort_keys=True))
        return Precision(known[key]["weights"], known[key]["reason"])


def _choose_fastest(ways: list[WeightType], measure: Callable[[WeightType], float]) -> Precision:
    """Return the fastest of the ways that fit the memory, with the times of all in the reason.

    The ways take turns, since another process may be busy during one of them. 4 bits round the weights, so they have
    to be `MIN_GAIN_OF_4BIT` times as fast as plain ones.
    """
    if len(ways) == 1:
        return Precision(ways[0], "plain weights do not fit the free memory")
    rounds = [{way: measure(way) for way in ways} for _ in range(TIMED_ROUNDS)]
    seconds = {way: min(times[way] for times in rounds) for way in ways}
    fastest = min(seconds, key=lambda way: seconds[way] * (MIN_GAIN_OF_4BIT if way == "4bit" else 1))
    times = ", ".join(f"{way} {1000 * value:.1f} ms" for way, value in sorted(seconds.items(), key=lambda one: one[1]))
    return Precision(fastest, f"the fastest of those that fit: {times}")


def _read_choices(file: Path) -> dict[str, Mapping[str, Any]]:
    """Return the choices that were measured before; a damaged file is measured again."""
    try:
        found: dict[str, Mapping[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return {key: value for key, value in found.items() if value["weights"] in BYTES and value["reason"]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
