"""One training run, whatever the method: data in chat form, the trainer with its checks, and the result."""

import contextlib
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osiris.adapters.manifest import CONFIG_FILE
from osiris.config.settings import Settings
from osiris.core.errors import BadInput, OsirisError
from osiris.llm.loader import load_drafter
from osiris.llm.suppress_output import suppress_output
from osiris.training.batches import fit_batches
from osiris.training.likelihoods import Likelihoods, measure_likelihoods, row_means
from osiris.training.recipe import Recipe
from osiris.training.target_modules import require_same_lora, require_targets
from osiris.training.tokens import ChatRow, apply_chat_format, row_lengths, without_chat_template

MAX_MEASURED_ROWS = 64
"""The most rows on which metrics are measured before and after a training; more would take too long."""


class TrainingDiverged(OsirisError):
    """Loss or weights are no longer finite; no adapter was kept."""


@dataclass(frozen=True)
class TrainingOptions:
    """What a training starts from and where its adapter goes.

    With a `parent`, that adapter is trained further; with `None`, a new adapter starts as the base. The adapter is
    saved to `out`. `progress` shows a bar on stderr.
    """

    parent: Path | None
    out: Path
    recipe: Recipe
    seed: int = 0
    progress: bool = True


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    `history` has one dict for each logged step (`step`, `loss`, `learning_rate`, ...). `before` and `after` are means
    over at most `MAX_MEASURED_ROWS` training rows at even distances: the trainer's `loss` and the means of
    `likelihoods.row_means`. Their rewards compare with the model as it was before this training. `largest_change` is
    the largest absolute change of any weight. `reference` names the model that DPO or KTO compared with: `parent` or
    `base`; it is `none` for SFT. `weights` says how the weights of the base were kept: `float32`, `bfloat16`, `4bit`.
    Of the `seconds`, the steps took `step_seconds`; the rest is loading and measuring.
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
    weights: str
    step_seconds: float


def sample_evenly(rows: Sequence[Any], max_count: int) -> Sequence[Any]:
    """At most `max_count` of `rows`, at even distances, beginning with the first."""
    return rows[:: -(-len(rows) // max_count)]


def copy_adapter_tensors(model: Any) -> dict[str, Any]:
    """Float32 copies of the weights that are being trained."""
    return {name: weight.detach().float().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def run_training(
    make_trainer: Callable[..., Any],
    rows: Sequence[ChatRow],
    settings: Settings,
    options: TrainingOptions,
) -> TrainResult:
    """Train on `rows` with a trainer of TRL and save to `options.out`; a row has a prompt and the replies to it.

    Raises `BadInput` for a parent, tokenizer or recipe that does not fit, `TrainingDiverged` where loss or weights are
    not finite. Nothing is written after an error.
    """
    started = time.perf_counter()
    from datasets import Dataset

    recipe, parent, seed = options.recipe, options.parent, options.seed
    with scratch_folder() as scratch:
        max_length = recipe.to_trainer_args(scratch, seed).max_length
        drafter = load_drafter(settings, parent, trainable=True)
        texts = apply_chat_format(drafter.tokenizer, rows, max_length)
        args = fit_batches(recipe, drafter.model, row_lengths(drafter.tokenizer, texts)).to_trainer_args(scratch, seed)
        if parent is None:
            require_targets(drafter.model, recipe)
        else:
            require_same_lora(drafter.model, recipe, parent)
        inherited = copy_adapter_tensors(drafter.model) if parent is not None else None
        data = Dataset.from_list(texts)
        trainer = _build_trainer(
            make_trainer,
            recipe,
            model=drafter.model,
            args=args,
            train_dataset=data,
            eval_dataset=data.select(sample_evenly(range(len(data)), MAX_MEASURED_ROWS)),
            processing_class=without_chat_template(drafter.tokenizer),
            peft_config=recipe.to_lora_config() if parent is None else None,
        )
        return _run(trainer, texts, inherited, options, started)


def _build_trainer(make_trainer: Callable[..., Any], recipe: Recipe, **arguments: Any) -> Any:
    try:
        return make_trainer(**arguments)
    except ValueError as error:
        raise BadInput("a recipe that its trainer takes", str(error), f"correct recipe {recipe.name}") from error


def _run(
    trainer: Any,
    rows: list[ChatRow],
    inherited: dict[str, Any] | None,
    options: TrainingOptions,
    started: float,
) -> TrainResult:
    """Train and save; `started` is the `perf_counter` from which the seconds count.

    `inherited` are the parent's tensors, restored because TRL rounds them to bfloat16.
    """
    reference = "none" if options.recipe.method == "sft" else "parent" if "ref" in trainer.model.peft_config else "base"
    _forbid_inference_kernels(trainer.model)
    _restore_full_precision(trainer.model, inherited)
    start = copy_adapter_tensors(trainer.model)
    _add_progress_bar(trainer, options.progress)
    before, initial = _metrics(trainer, rows)
    _forget_evaluation(trainer)
    step_seconds = float(trainer.train().metrics["train_runtime"])
    history = [_numbers(entry) for entry in trainer.state.log_history if "loss" in entry]
    after, _ = _metrics(trainer, rows, initial)
    changes = [
        float((weight - start[name]).abs().max()) for name, weight in copy_adapter_tensors(trainer.model).items()
    ]
    if not all(map(math.isfinite, [*changes, *after.values()])):
        raise _diverged("weights and metrics", "NaN or infinity after the last step")
    if not any(changes):
        raise BadInput(
            "a training that changes an adapter", "the weights as they were", "raise args.learning_rate in the recipe"
        )
    _save(trainer.model, options.out)
    return TrainResult(
        folder=options.out,
        rows=len(rows),
        history=history,
        before=before,
        after=after,
        seconds=time.perf_counter() - started,
        tensors=len(changes),
        tensors_changed=sum(change > 0 for change in changes),
        largest_change=max(changes),
        reference=reference,
        step_seconds=step_seconds,
        weights="4bit" if getattr(trainer.model, "is_loaded_in_4bit", False) else _stored_type(trainer.model),
    )


def _stored_type(model: Any) -> str:
    """The number type of the weights that are not trained."""
    frozen = next((weight for weight in model.parameters() if not weight.requires_grad), next(model.parameters()))
    return str(frozen.dtype).removeprefix("torch.")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder for the files of a trainer, deleted afterwards; the libraries print nothing meanwhile."""
    import datasets

    were_enabled = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with suppress_output(), tempfile.TemporaryDirectory(prefix="osiris-training-") as folder:
            warnings.filterwarnings("ignore", message="'pin_memory' argument")
            yield Path(folder)
    finally:
        if were_enabled:
            datasets.enable_progress_bars()


def _restore_full_precision(model: Any, inherited: dict[str, Any] | None) -> None:
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.data = inherited[name].clone() if inherited else weight.data.float()


def _forbid_inference_kernels(model: Any) -> None:
    """Keep bitsandbytes from repacking weights at the first evaluation: its packed CPU code has no gradient."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _forget_evaluation(trainer: Any) -> None:
    """Let the model be prepared for training, as if nothing had been evaluated.

    Accelerate prepares a model once. Prepared for an evaluation, it is not wrapped when the training begins. Each of
    several processes would then train an adapter of its own, without an error.
    """
    trainer.accelerator._models.clear()
    vars(trainer.model).pop("_is_accelerate_prepared", None)


def _metrics(
    trainer: Any, rows: list[ChatRow], initial: Likelihoods | None = None
) -> tuple[dict[str, float], Likelihoods]:
    """Loss and means over rows, and the likelihoods behind them; `initial` are those before the training."""
    args, sample = trainer.args, sample_evenly(rows, MAX_MEASURED_ROWS)
    current = measure_likelihoods(trainer.model, trainer.processing_class, sample, args.per_device_eval_batch_size)
    means = row_means(current, initial or current, getattr(args, "beta", 0.0))
    return {"loss": float(trainer.evaluate()["eval_loss"])} | means, current


def _save(model: Any, out: Path) -> None:
    """Save the adapter; the target modules are sorted, because peft keeps them in a set of no fixed order."""
    model.save_pretrained(out, selected_adapters=["default"])
    config = json.loads((out / CONFIG_FILE).read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    (out / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in entry.items() if isinstance(value, int | float)}


def _diverged(expected: str, actual: str) -> TrainingDiverged:
    return TrainingDiverged(f"finite {expected}", actual, "lower args.learning_rate in the recipe; no adapter was kept")


def _add_progress_bar(trainer: Any, progress: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress
    from transformers import PrinterCallback, TrainerCallback

    bar = Progress(console=Console(stderr=True), disable=not progress)

    class Report(TrainerCallback):
        """Moves the progress bar, and stops the training at the first loss that is not finite."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.start()
            self.task = bar.add_task("training the adapter", total=state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs: dict[str, Any] = kwargs["logs"]
            not_finite = [key for key in ("loss", "grad_norm") if not math.isfinite(logs.get(key, 0.0))]
            if not_finite:
                bar.stop()
                raise _diverged(not_finite[0], f"{logs[not_finite[0]]} at step {state.global_step}")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(self.task, completed=state.global_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.stop()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Report())
