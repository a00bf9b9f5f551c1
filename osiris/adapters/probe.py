"""The probe: an adapter, once attached, must compute finite numbers, and not those of the base."""

from pathlib import Path
from typing import cast

from osiris.adapters.manifest import WEIGHTS_FILE, adapter_rejection
from osiris.config.settings import Settings
from osiris.llm.loader import Drafter, load_drafter

PROBE_PROMPT = "Ticker: ABC\nmomentum up 1.0"


def load_and_probe(settings: Settings, folder: Path) -> Drafter:
    """Load the adapter of `folder` over the base, probe it and return it; raises `AdapterRejected`."""
    from safetensors import SafetensorError

    try:
        drafter = load_drafter(settings, folder)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise adapter_rejection(folder, "an adapter that peft can load", " ".join(str(error).split())[:200]) from error
    probe_adapter(drafter, folder)
    return drafter


def probe_adapter(drafter: Drafter, folder: Path) -> None:
    """Compare one forward pass with the adapter of `folder` and one without it.

    Raises `AdapterRejected` if a tensor of the file is not in the model, if a logit is NaN or infinite, or if the
    logits equal those of the base.
    """
    import torch
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    model = cast(PeftModel, drafter.model)  # with an adapter attached, the model is peft's
    file_tensors, model_tensors = load_file(folder / WEIGHTS_FILE), get_peft_model_state_dict(model)
    if file_tensors.keys() != model_tensors.keys() or not all(
        torch.equal(file_tensors[key], model_tensors[key].cpu()) for key in file_tensors
    ):
        raise adapter_rejection(
            folder,
            "every tensor in its place in the model",
            f"{len(file_tensors)} in the file, {len(model_tensors)} there",
        )
    ids = drafter.tokenizer(PROBE_PROMPT, return_tensors="pt")["input_ids"].to(model.device)
    with torch.no_grad():
        adapter_logits = model(input_ids=ids).logits
        with model.disable_adapter():
            base_logits = model(input_ids=ids).logits
    if not torch.isfinite(adapter_logits).all():
        raise adapter_rejection(folder, "a finite forward pass", "NaN or infinite logits")
    if torch.equal(adapter_logits, base_logits):
        raise adapter_rejection(folder, "a forward pass that differs from the base's", "the same logits")
