"""What all methods share: the data in chat form, the run with its checks, and what came of it."""

import contextlib
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osiris.errors import BadInput, OsirisError
from osiris.llm.loader import load_drafter
from osiris.llm.quiet import no_bars
from osiris.settings import Settings
from osiris.training.recipe import Method, Recipe

Message = list[dict[str, str]]
Row = Mapping[str, Message | bool]  # a prompt, the replies to it and, for KTO, whether they were good
# what a parent and a recipe agree on, named in it or not; what a recipe says of new adapters alone
LORA = ("r", "lora_alpha", "target_modules", "lora_dropout", "use_rslora", "bias", "rank_pattern", "alpha_pattern")
FROM_THE_START = ("init_lora_weights", "task_type")
REPLIES, MEASURED = ("completion", "chosen", "rejected"), 256
"""Columns of replies; rows that metrics before and after a training are taken on: more take longer than they gain."""


class TrainingDiverged(OsirisError):
    """Loss or weights are no longer finite; nothing was kept."""


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    `history` has one dict a logged step (`step`, `loss`, `learning_rate`, ...); `before` and `after` are the trainer's
    metrics over at most `MEASURED` of the training rows, evenly taken (`loss`, for DPO also `logps/chosen`,
    `rewards/margins`, ...). `largest_change` is the largest absolute change of any weight. `reference` is what DPO
    compared with: `parent`, `base`; `none` for SFT.
    """

    folder: Path
    rows: int
    history: list[dict[str, float]]
    before: dict[str, float]
    after: dict[str, float]
    seconds: float
    tensors: int
    tensors_changed: int
    largest_change: float
    reference: str


def evenly(rows: Sequence[Any], most: int) -> Sequence[Any]:
    """At most `most` of `rows`, at even distances from the first on."""
    return rows[:: -(-len(rows) // most)]


def user(text: str) -> Message:
    """A prompt as the chat template wants it."""
    return [{"role": "user", "content": text}]


def assistant(text: str) -> Message:
    """A reply as the chat template wants it."""
    return [{"role": "assistant", "content": text}]


def require_same_tokens(tokenizer: Any, rows: Sequence[Row], max_length: int | None) -> None:
    """Check prompt and replies of each row: the model must be trained on the very tokens it sees when it generates.

    Raises `BadInput` if the tokens of a prompt, as generation begins from them, are not the beginning of prompt and
    reply (a token merged across the boundary would be trained and never met), or if a row has more than `max_length`.
    """
    for prompt, reply in ((row["prompt"], row[name]) for row in rows for name in REPLIES if name in row):
        begun = _tokens(tokenizer, prompt, add_generation_prompt=True)
        whole = _tokens(tokenizer, prompt + reply)
        if whole[: len(begun)] != begun:
            raise BadInput(
                "a tokenizer that keeps prompt and reply apart",
                f"a prompt that ends in {tokenizer.decode(begun[-4:])!r} alone, but not before {_text(reply)[:20]!r}",
                "isolate the newline before a reply in the tokenizer or its chat template",
            )
        if max_length is not None and len(whole) > max_length:
            raise BadInput(f"rows of at most {max_length} tokens", f"one of {len(whole)}", "raise args.max_length")


def require_same_lora(model: Any, recipe: Recipe, parent: Path) -> None:
    """Check that the parent is as the recipe says, in all that a training goes by; raises `BadInput` otherwise."""
    theirs, ours = model.peft_config["default"], recipe.lora_config()
    for key in dict.fromkeys([*LORA, *recipe.lora]):
        if key not in FROM_THE_START and getattr(theirs, key) != getattr(ours, key):
            wanted = f"a parent adapter with the recipe's {key} {getattr(ours, key)}"
            came, remedy = f"{getattr(theirs, key)} in {parent.name}", "change the recipe, or start without a parent"
            raise BadInput(wanted, came, remedy)


def adapter_tensors(model: Any) -> dict[str, Any]:
    """Float32 copies of the weights under training."""
    return {name: weight.detach().float().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def teach(
    make_trainer: Callable[..., Any],
    rows: Sequence[Row],
    settings: Settings,
    parent: Path | None,
    out: Path,
    recipe: Recipe,
    seed: int,
    progress: bool,
) -> TrainResult:
    """Train with a trainer of TRL on `rows` (its columns: a prompt, and the replies to it) and save to `out`.

    A `parent` adapter is continued. Raises `BadInput` for a parent, tokenizer or recipe that does not fit,
    `TrainingDiverged` when it is not finite; nothing is written then.
    """
    began = time.perf_counter()
    from datasets import Dataset

    with workbench() as scratch:
        args = recipe.trainer_args(scratch, seed)
        drafter = load_drafter(settings, parent, trainable=True)
        require_same_tokens(drafter.tokenizer, rows, args.max_length)
        if parent is not None:
            require_same_lora(drafter.model, recipe, parent)
        inherited = adapter_tensors(drafter.model) if parent is not None else None
        data = Dataset.from_list([dict(row) for row in rows])
        trainer = make_trainer(
            model=drafter.model,
            args=args,
            train_dataset=data,
            eval_dataset=data.select(evenly(range(len(data)), MEASURED)),
            processing_class=drafter.tokenizer,
            peft_config=recipe.lora_config() if parent is None else None,
        )
        return _run(trainer, out, len(rows), began, inherited, recipe.method, progress)


def _run(
    trainer: Any, out: Path, rows: int, began: float, inherited: dict[str, Any] | None, method: Method, progress: bool
) -> TrainResult:
    """Train and save; `inherited` are the parent's tensors, restored because TRL rounds them to bfloat16."""
    reference = "none" if method == "sft" else "parent" if "ref" in trainer.model.peft_config else "base"
    _forbid_inference_kernels(trainer.model)
    _restore_full_precision(trainer.model, inherited)
    start = adapter_tensors(trainer.model)
    _report_by(trainer, progress)
    before = _metrics(trainer)
    trainer.train()
    history = [_numbers(entry) for entry in trainer.state.log_history if "loss" in entry]
    after = _metrics(trainer)
    changes = [float((weight - start[name]).abs().max()) for name, weight in adapter_tensors(trainer.model).items()]
    if not all(map(math.isfinite, [*changes, *after.values()])):
        raise _diverged("weights and metrics", "NaN or infinity after the last step")
    trainer.model.save_pretrained(out, selected_adapters=["default"])
    return TrainResult(
        folder=out,
        rows=rows,
        history=history,
        before=before,
        after=after,
        seconds=time.perf_counter() - began,
        tensors=len(changes),
        tensors_changed=sum(change > 0 for change in changes),
        largest_change=max(changes),
        reference=reference,
    )


@contextlib.contextmanager
def workbench() -> Iterator[Path]:
    """Yield a folder for what a trainer leaves behind, thrown away afterwards; libraries keep quiet meanwhile."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with no_bars(), tempfile.TemporaryDirectory(prefix="osiris-training-") as folder:
            warnings.filterwarnings("ignore", message="'pin_memory' argument")
            yield Path(folder)
    finally:
        if shown:
            datasets.enable_progress_bars()


def _text(message: Message) -> str:
    return message[0]["content"]


def _tokens(tokenizer: Any, messages: Message, **options: bool) -> list[int]:
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"]


def _restore_full_precision(model: Any, inherited: dict[str, Any] | None) -> None:
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.data = inherited[name].clone() if inherited else weight.data.float()


def _forbid_inference_kernels(model: Any) -> None:
    """Keep bitsandbytes from repacking weights at the first evaluation: its packed CPU kernel has no gradient."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _metrics(trainer: Any) -> dict[str, float]:
    found = _numbers(trainer.evaluate())
    timing = ("runtime", "samples_per_second", "steps_per_second", "epoch", "num_tokens", "model_preparation_time")
    named = {key.removeprefix("eval_"): value for key, value in found.items()}
    return {key: value for key, value in named.items() if key not in timing}


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in entry.items() if isinstance(value, int | float)}


def _diverged(expected: str, came: str) -> TrainingDiverged:
    return TrainingDiverged(f"finite {expected}", came, "lower args.learning_rate in the recipe; no adapter was kept")


def _report_by(trainer: Any, progress: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress
    from transformers import PrinterCallback, TrainerCallback

    bar = Progress(console=Console(stderr=True), disable=not progress)

    class Report(TrainerCallback):
        """Moves the bar and stops at the first loss that is not finite."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.start()
            self.task = bar.add_task("training the adapter", total=state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
            odd = [key for key in ("loss", "grad_norm") if not math.isfinite(logs.get(key, 0.0))]
            if odd:
                bar.stop()
                raise _diverged(odd[0], f"{logs[odd[0]]} at step {state.global_step}")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(self.task, completed=state.global_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.stop()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Report())
