"""The probe: whether an adapter, once attached, computes something finite that is not the base."""

from pathlib import Path

from osiris.adapters.manifest import WEIGHTS, rejected
from osiris.config.settings import Settings
from osiris.llm.loader import Drafter, load_drafter

PROMPT = "Ticker: ABC\nmomentum up 1.0"


def probe_folder(settings: Settings, folder: Path) -> Drafter:
    """Load the adapter of `folder` over the base, `probe` it and return it; raises `AdapterRejected`."""
    from safetensors import SafetensorError

    try:
        drafter = load_drafter(settings, folder)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise rejected(folder, "an adapter that peft can load", " ".join(str(error).split())[:200]) from error
    probe(drafter, folder)
    return drafter


def probe(drafter: Drafter, folder: Path) -> None:
    """One forward pass with the adapter of `folder` attached and one without.

    Raises `AdapterRejected` if a tensor of the file did not reach the model, if a logit is NaN or infinite, or if the
    logits are those of the base.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    model = drafter.model
    given, taken = load_file(folder / WEIGHTS), get_peft_model_state_dict(model)
    if given.keys() != taken.keys() or not all(torch.equal(given[key], taken[key].cpu()) for key in given):
        raise rejected(
            folder, "every tensor in its place in the model", f"{len(given)} in the file, {len(taken)} there"
        )
    ids = drafter.tokenizer(PROMPT, return_tensors="pt")["input_ids"].to(model.device)
    with torch.no_grad():
        adapted = model(input_ids=ids).logits
        with model.disable_adapter():
            plain = model(input_ids=ids).logits
    if not torch.isfinite(adapted).all():
        raise rejected(folder, "a finite forward pass", "NaN or infinite logits")
    if torch.equal(adapted, plain):
        raise rejected(folder, "a forward pass that differs from the base's", "the same logits")
