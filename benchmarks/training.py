"""DPO pairs a second against TRL's trainer with its defaults: `python benchmarks/training.py [--pairs 256]`.

The same starter, LoRA shape, loss and pairs for all, as many epochs as the house's recipe has; what is measured is the
trainer from its making to the end of its training. Each line changes one thing of the line before; the last but one is
the house's recipe.
"""

import argparse
import random
import tempfile
import time
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from osiris.config.settings import ModelSettings, Settings
from osiris.llm.loader import load_drafter
from osiris.llm.starter_data import random_features, random_reply, random_symbol, render_draft_prompt
from osiris.llm.suppress_output import suppress_output
from osiris.training.recipe import load_recipe
from osiris.training.tokens import to_assistant_message, to_user_message

RECIPE = load_recipe("dpo", "dpo")
LOSS = {name: RECIPE.args[name] for name in ("loss_type", "loss_weights", "beta")}
EPOCHS = RECIPE.args["num_train_epochs"]
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("TRL's defaults", "4bit", {}),
    ("without bfloat16", "4bit", {"bf16": False}),
    ("without gradient checkpointing", "4bit", {"bf16": False, "gradient_checkpointing": False}),
    ("batches of 32", "4bit", {"bf16": False, "gradient_checkpointing": False, "per_device_train_batch_size": 32}),
    ("reference read once for all epochs", "4bit", RECIPE.args),
    ("base not quantized", "none", RECIPE.args),
]


def pairs(count: int) -> list[dict[str, Any]]:
    """Pairs of random replies to one random prompt, as the trainer takes them."""
    rng, rows = random.Random(0), []
    for _ in range(count):
        ticker, features = random_symbol(rng), random_features(rng)
        good, bad = (random_reply(rng, ticker, features).to_json() for _ in range(2))
        prompt = render_draft_prompt(ticker, features)
        rows.append(
            {
                "prompt": to_user_message(prompt),
                "chosen": to_assistant_message(good),
                "rejected": to_assistant_message(bad),
            }
        )
    return rows


def seconds(quantize: str, args: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """How long one epoch takes."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    # bfloat16 is on by default, and refused where there is no GPU unless the CPU is asked for
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": not torch.cuda.is_available()}
    with tempfile.TemporaryDirectory() as out, suppress_output():
        config = DPOConfig(**(args | LOSS | quiet | {"num_train_epochs": EPOCHS}), output_dir=out)
        drafter = load_drafter(Settings(model=ModelSettings(quantize=quantize)), trainable=True)
        began = time.perf_counter()
        trainer = DPOTrainer(
            model=drafter.model,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=drafter.tokenizer,
            peft_config=RECIPE.to_lora_config(),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return time.perf_counter() - began


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=256)
    rows = pairs(parser.parse_args().pairs)
    found = {
        name: seconds(quantize, args, rows)
        for name, quantize, args in track(VARIANTS, "Training", console=Console(stderr=True))
    }
    table = Table("DPO", "pairs a second", "to the defaults")
    for name, took in found.items():
        table.add_row(name, f"{EPOCHS * len(rows) / took:.1f}", f"{found[VARIANTS[0][0]] / took:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
