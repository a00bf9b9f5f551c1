"""The primer: it teaches a pretrained model to write valid, coherent and balanced ideas, once.

A LoRA adapter is trained on made-up situations (`osiris/training/primer_data.py`) and merged into the base. The result
is a model folder in the cache, which takes the place of `model.base`. So all nightly adapters descend from the primer.
All replies to a situation share its prompt, which is read once; its keys and values have gradients too. The words that
decide, the reason and the side, weigh more than the rest of a reply. For each reason, buying and selling are to be
equally likely, and the difference has a term of its own in the loss: in the mean over tokens it would count for a
twentieth, and one seed of three then drafted 26 % longs (docs/log.md).
"""

import json
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osiris.config.settings import Settings
from osiris.core.errors import BadInput
from osiris.core.files import fsync_path, make_once, publish_folder
from osiris.core.ideas import Reply, Side
from osiris.llm.chat import format_exchange, token_counter
from osiris.llm.completion import prefill_cache
from osiris.llm.generate import DraftRequest, draft_replies, unconstrained
from osiris.llm.loader import Drafter, load_drafter
from osiris.llm.primed import PRIMER_ADAPTER, PRIMER_FILE, PrimerRecipe, primed_folder
from osiris.llm.sources import compute_base_hash, is_starter, locate_model
from osiris.llm.starter_train import learning_rate_factor, token_weights
from osiris.llm.suppress_output import suppress_output
from osiris.training.primer_data import Situation, is_reason_coherent, make_situations
from osiris.training.target_modules import linear_layers

if TYPE_CHECKING:
    from torch import Tensor

CHECK_SITUATIONS = 96
"""Fresh situations on which a primed model is measured, one reply each: a standard error of 1.4 points at 98 %."""
FRESH_SEED = 1_000_000
"""Seeds of the fresh situations begin here, so that none was trained on."""
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class PrimerReport:
    """A primed model, and how it drafts on fresh situations without constrained decoding.

    Shares are of `drafts` replies: valid ones, and among these the coherent and the long ones. A reply is coherent if
    its reason names a fact of the prompt and its side agrees with the reason. `seconds` is the training.
    """

    folder: str
    drafts: int
    valid_share: float
    coherent_share: float
    long_share: float
    reward_to_risk: float
    seconds: float

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        return (
            f"Of {self.drafts} replies to fresh situations {self.valid_share:.1%} are valid, "
            f"{self.coherent_share:.1%} of these agree with their reason, and {self.long_share:.0%} are long."
        )


@dataclass(frozen=True)
class EncodedReply:
    """A reply in tokens, from the last token of the prompt on, and the weight of each token in the loss."""

    ids: list[int]
    weights: list[float]


def prime_model(settings: Settings, recipe: PrimerRecipe = PrimerRecipe(), progress: bool = True) -> PrimerReport:
    """Return the primed model of `model.base`, making it first when the cache does not have it.

    The folder appears complete or not at all. Raises `BadInput` for a starter, and the errors of `load_drafter`.
    """
    if is_starter(settings.model.base):
        raise BadInput(
            "a pretrained model.base to prime",
            "a starter, which drafts already",
            "set model.primed = false, or model.base",
        )
    plain = settings.with_model(primed=False)
    folder = primed_folder(compute_base_hash(plain), recipe, settings.model.cache)
    make_once(folder, lambda: _make(plain, recipe, folder, progress))
    return PrimerReport(**json.loads((folder / PRIMER_FILE).read_text(encoding="utf-8"))["report"])


def _make(settings: Settings, recipe: PrimerRecipe, folder: Path, progress: bool) -> None:
    unfinished = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    started = time.perf_counter()
    adapter = unfinished / PRIMER_ADAPTER
    _train(settings, recipe, adapter, progress)
    seconds = time.perf_counter() - started
    _merge(settings, adapter, unfinished)
    primed = settings.with_model(base=str(unfinished))
    report = measure_drafts(load_drafter(primed), primed, recipe.seed, str(folder), seconds)
    content = {"base": settings.model.base, "recipe": asdict(recipe), "report": asdict(report)}
    (unfinished / PRIMER_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for path in sorted(adapter.iterdir()):
        fsync_path(path)
    publish_folder(unfinished, folder)


def _train(settings: Settings, recipe: PrimerRecipe, out: Path, progress: bool) -> None:
    """Train the adapter and save it to `out`."""
    import torch
    from peft import LoraConfig, get_peft_model

    drafter = load_drafter(settings, trainable=True)
    tokenizer = drafter.tokenizer
    if not tokenizer.is_fast:
        raise BadInput("a fast tokenizer, which knows the place of each token", settings.model.base, "use another one")
    situations = make_situations(settings, recipe.seed, recipe.situations, token_counter(tokenizer))
    encoded = [encode_situation(one, tokenizer, recipe) for one in situations]
    with torch.random.fork_rng(), suppress_output():
        torch.manual_seed(recipe.seed)
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            target_modules=linear_layers(drafter.model),
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(drafter.model, config)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    steps = math.ceil(len(encoded) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps))
    model.train()
    with _progress_bar(progress, len(encoded)) as advance:
        for start in range(0, len(encoded), recipe.batch):
            group = encoded[start : start + recipe.batch]
            for prompt, replies in group:
                loss = reply_loss(model, prompt, replies, recipe.balance_weight) / len(group)
                loss.backward()  # type: ignore[no-untyped-call]
                advance(float(loss.detach()) * len(group))
            torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    with suppress_output():
        model.save_pretrained(str(out))


def encode_situation(
    situation: Situation, tokenizer: Any, recipe: PrimerRecipe
) -> tuple[list[int], list[EncodedReply]]:
    """The tokens of the prompt but its last one, and those of each reply from that token on."""
    prompt = situation.snapshot.prompt
    rows = [_encode_reply(prompt, reply, tokenizer, recipe) for reply in situation.replies]
    shared = min(begin for _, begin, _ in rows) - 1  # the last token of the prompt predicts the first of the reply
    replies = [EncodedReply(ids[shared:], weights[shared:]) for ids, _, weights in rows]
    return rows[0][0][:shared], replies


def _encode_reply(
    prompt: str, reply: Reply, tokenizer: Any, recipe: PrimerRecipe
) -> tuple[list[int], int, list[float]]:
    """The tokens of prompt and reply, the place of the reply's first one, and the weight of each in the loss."""
    question, answer = format_exchange(tokenizer, prompt, reply.to_json())
    encoded = tokenizer(question + answer, return_offsets_mapping=True, add_special_tokens=False)
    decisions, shares = (reply.rationale, f'"{reply.side}"'), (0.0, recipe.decision_weight)
    weights = token_weights(encoded["offset_mapping"], question, answer, decisions, shares)
    begin = next(place for place, weight in enumerate(weights) if weight > 0)
    return encoded["input_ids"], begin, weights


def reply_loss(
    model: Any, prompt: Sequence[int], replies: Sequence[EncodedReply], balance_weight: float = 0.0
) -> "Tensor":
    """The weighted mean of the cross-entropy of the tokens of all replies, in nats; the prompt is read once.

    `replies` come in twos, a reason to buy and the same reason to sell. The mean of their squared difference in nats,
    where the two part, is added with `balance_weight`.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    device = model.device
    read = torch.tensor([list(prompt)], device=device)
    cache = prefill_cache(model, read, torch.ones_like(read), [0] * len(replies))
    # Shapes are (replies, tokens), padded on the right.
    ids = pad_sequence([torch.tensor(reply.ids) for reply in replies], batch_first=True).to(device)
    weights = pad_sequence([torch.tensor(reply.weights) for reply in replies], batch_first=True).to(device)[:, 1:]
    lengths = torch.tensor([len(prompt) + len(reply.ids) for reply in replies], device=device)
    mask = (torch.arange(len(prompt) + ids.shape[1], device=device) < lengths[:, None]).long()
    positions = torch.arange(len(prompt), len(prompt) + ids.shape[1], device=device).expand(len(replies), -1)
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
    ).logits[:, :-1]
    chosen = weights > 0
    losses = torch.nn.functional.cross_entropy(logits[chosen].float(), ids[:, 1:][chosen], reduction="none")
    mean = (losses * weights[chosen]).sum() / weights[chosen].sum()
    return mean + balance_weight * _imbalance(logits, ids)


def _imbalance(logits: "Tensor", ids: "Tensor") -> "Tensor":
    """The mean squared difference, in nats, between the two tokens with which each two replies part.

    `logits` has shape (replies, tokens - 1, vocabulary), `ids` (replies, tokens).
    """
    import torch

    buys, sells = ids[0::2], ids[1::2]
    places = (buys != sells).int().argmax(1)
    rows = torch.arange(len(places), device=ids.device)
    scores = logits[0::2][rows, places - 1].float()
    differences = scores[rows, buys[rows, places]] - scores[rows, sells[rows, places]]
    return differences.square().mean()


def _merge(settings: Settings, adapter: Path, out: Path) -> None:
    """Merge the adapter into the weights of the base, in the type in which they were published, and save to `out`."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = locate_model(settings.model.base, "drafter", settings)
    with suppress_output():
        base = AutoModelForCausalLM.from_pretrained(where, dtype="auto")
        merged: Any = PeftModel.from_pretrained(base, str(adapter))
        merged.merge_and_unload().save_pretrained(out)
        AutoTokenizer.from_pretrained(where).save_pretrained(out)


def measure_drafts(drafter: Drafter, settings: Settings, seed: int, folder: str, seconds: float) -> PrimerReport:
    """Draft once on fresh situations, without constrained decoding, and count what the replies are worth."""
    situations = make_situations(settings, FRESH_SEED + seed, CHECK_SITUATIONS, token_counter(drafter.tokenizer))
    free = unconstrained(settings)
    once = free.with_model(retries=0)
    requests = [DraftRequest(one.snapshot.prompt, one.snapshot.ticker) for one in situations]
    drafts = [group[0] for group in draft_replies(drafter, requests, 1, once, seed)]
    valid = [(draft.reply, one.snapshot.text) for draft, one in zip(drafts, situations, strict=True) if draft.reply]
    count = max(1, len(valid))
    return PrimerReport(
        folder=folder,
        drafts=len(drafts),
        valid_share=len(valid) / len(drafts),
        coherent_share=sum(is_reason_coherent(reply, text) for reply, text in valid) / count,
        long_share=sum(reply.side is Side.LONG for reply, _ in valid) / count,
        reward_to_risk=sum(reply.target_atr / reply.stop_atr for reply, _ in valid) / count,
        seconds=round(seconds, 1),
    )


def _progress_bar(wanted: bool, total: int) -> Any:
    """A context manager that yields a function: called with the loss of a situation, it moves the bar on by one."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    @contextmanager
    def show() -> Any:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, *times, console=Console(stderr=True), disable=not wanted) as bar:
            task = bar.add_task("priming the model", total=total, loss=math.nan)
            yield lambda loss: bar.update(task, advance=1, loss=loss)

    return show()
