"""Check a model before real work depends on it: load, draft, score and train two steps, and say what a night will take.

Everything is measured with the workspace's own settings, on made-up situations with the blocks of its prompts.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from osiris.config.settings import Settings
from osiris.core.errors import OsirisError
from osiris.drafting.prompt_form import PromptForm
from osiris.llm.chat import token_counter
from osiris.llm.generate import Draft, DraftRequest, draft_replies
from osiris.llm.hermes import JudgedIdea, score_as_configured
from osiris.llm.loader import Drafter
from osiris.llm.models import AnyDrafter, AnyJudge, open_models
from osiris.llm.precision import choose_precision
from osiris.llm.sources import is_starter, locate_model
from osiris.training.batches import rows_per_step
from osiris.training.methods import train_adapter
from osiris.training.primer_data import Situation, draw_replies, make_situations
from osiris.training.recipe import Recipe, load_recipe
from osiris.training.run import TrainingOptions

CHECK_SEED = 2_000_000
"""The made-up situations of a check are neither those of the primer nor those it is measured on."""
CHECKED_SITUATIONS = 8
BATCH_SIZES = (1, 8, 32)
"""Batches that drafting is timed with; more are left out where `model.batch_size` is smaller."""
TRAINING_STEPS = 2
LARGE_MILLIONS = 50
"""From so many million parameters on, a step is timed on `TIMED_ROWS` rows, and not on the recipe's whole batch."""
TIMED_ROWS = 2
MIN_VALID_SHARE = 0.98
MIN_GAIN = 1.2
"""A batch or a number of threads is only advised where it is faster by this factor."""
MAX_NIGHT_MINUTES = 120
"""A night that takes longer is worth a change."""
USUAL_PAIRS = 100
"""Pairs of a nightly run that the estimate is made for."""


@dataclass
class ModelCheck:
    """What a check found. Times are wall-clock seconds, memory is of this process; `None` where it was not measured.

    `tokens_per_second` are those of drafting by size of the batch. `valid_share` is that of the replies as drafted with
    the workspace's settings, at the first attempt. `night_minutes` is for `USUAL_PAIRS` pairs and the held-out prompts.
    """

    base: str
    judge: str
    weights: str = ""
    reason: str = ""
    parameters_millions: float | None = None
    load_seconds: float | None = None
    memory_gb: float | None = None
    prompt_tokens: float | None = None
    tokens_per_second: dict[int, float] = field(default_factory=dict)
    seconds_per_idea: float | None = None
    valid_share: float | None = None
    long_share: float | None = None
    seconds_per_score: float | None = None
    scored_share: float | None = None
    number_probability: float | None = None
    training_weights: str = ""
    training_tokens_per_second: float | None = None
    training_seconds_per_step: float | None = None
    training_overhead_seconds: float = 0.0
    night_minutes: float | None = None
    ideas: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing has to be changed."""
        return not self.advice

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        minutes = self.night_minutes
        night = f"a night takes about {minutes:.0f} min" if minutes is not None else "the time of a night is not known"
        return f"{self.base} drafts, {self.judge} scores; {night}; {len(self.advice) or 'no'} things to change."


def check_models(settings: Settings, progress: Callable[[str], None] = lambda what: None) -> ModelCheck:
    """Load, draft, score and train two steps; every part that fails becomes a line of `advice`.

    Raises the errors of loading a model: without one there is nothing to check.
    """
    report = ModelCheck(settings.model.base, settings.model.judge)
    progress("loading the drafter")
    before, started = _memory_gb(), time.perf_counter()
    models = open_models(settings)
    drafter = models.serve(None)
    report.load_seconds = time.perf_counter() - started
    report.memory_gb = _memory_gb() - before
    if isinstance(drafter, Drafter):
        _describe_weights(report, drafter, settings)
    situations = _situations(settings, drafter)
    progress("drafting")
    drafts = _check_drafting(report, drafter, situations, settings)
    progress("scoring")
    _check_scoring(report, models.judge, situations, drafts, settings)
    if settings.llm.backend == "local":
        progress("training two steps")
        _check_training(report, drafter.tokenizer, situations, settings)
    _estimate_night(report, settings)
    _advise(report, settings)
    return report


def _situations(settings: Settings, drafter: AnyDrafter) -> list[Situation]:
    """Made-up situations with exactly the blocks that the workspace shows."""
    form = PromptForm(settings)
    count = token_counter(drafter.tokenizer)
    return make_situations(settings, CHECK_SEED, CHECKED_SITUATIONS, count, form.blocks)


def _describe_weights(report: ModelCheck, drafter: Drafter, settings: Settings) -> None:
    """Say how large the model is, how its weights are kept for answers, and why."""
    from transformers import AutoConfig

    where = locate_model(settings.model.base, "drafter", settings)
    precision = choose_precision(settings, AutoConfig.from_pretrained(where), training=False)
    report.parameters_millions = drafter.model.num_parameters() / 1e6
    report.weights, report.reason = precision.weights, precision.reason


def _check_drafting(
    report: ModelCheck, drafter: AnyDrafter, situations: Sequence[Situation], settings: Settings
) -> list[Draft]:
    """Time each size of batch, and look at the replies of the largest one."""
    requests = [DraftRequest(one.snapshot.prompt, one.snapshot.ticker) for one in situations]
    count = token_counter(drafter.tokenizer)
    report.prompt_tokens = sum(count(request.prompt) for request in requests) / len(requests)
    drafts: list[Draft] = []
    for size in [size for size in BATCH_SIZES if size <= settings.model.batch_size] or [settings.model.batch_size]:
        timed = settings.with_model(batch_size=size, retries=0)
        wanted, copies = requests[: max(1, size)], -(-size // len(requests))
        started = time.perf_counter()
        groups = draft_replies(drafter, wanted, copies, timed, settings.model.seed)
        seconds = time.perf_counter() - started
        drafts = [draft for group in groups for draft in group]
        written = sum(len(drafter.tokenizer(draft.text, add_special_tokens=False)["input_ids"]) for draft in drafts)
        report.tokens_per_second[size] = written / seconds
        report.seconds_per_idea = seconds / len(drafts)
    valid = [draft.reply for draft in drafts if draft.reply is not None]
    report.valid_share = len(valid) / len(drafts)
    report.long_share = sum(reply.side.sign > 0 for reply in valid) / len(valid) if valid else None
    report.ideas = [draft.text for draft in drafts[:3]]
    return drafts


def _check_scoring(
    report: ModelCheck,
    judge: AnyJudge,
    situations: Sequence[Situation],
    drafts: Sequence[Draft],
    settings: Settings,
) -> None:
    ideas = [
        JudgedIdea(draft.text, situations[number % len(situations)].snapshot.text)
        for number, draft in enumerate(drafts[:CHECKED_SITUATIONS])
    ]
    started = time.perf_counter()
    scores = score_as_configured(judge, ideas, settings)
    report.seconds_per_score = (time.perf_counter() - started) / len(ideas)
    report.scored_share = sum(score.raw is not None for score in scores) / len(scores)
    known = [score.number_probability for score in scores if score.number_probability is not None]
    report.number_probability = sum(known) / len(known) if known else None


def _check_training(report: ModelCheck, tokenizer: Any, situations: Sequence[Situation], settings: Settings) -> None:
    """Train two steps by the recipe of the pairs, on made-up pairs of opposite sides."""
    recipe = load_recipe(settings.training.dpo_recipe, "dpo", "kto", "sft")
    rng = random.Random(CHECK_SEED)
    batch = rows_per_step(recipe)
    timed = min(batch, TIMED_ROWS) if (report.parameters_millions or 0) >= LARGE_MILLIONS else batch
    rows: list[dict[str, Any]] = []
    for number in range(TRAINING_STEPS * timed):
        shot = situations[number % len(situations)].snapshot
        good, bad = draw_replies(rng, shot)[:2]
        rows.append({"prompt": shot.prompt, "good_reply": good.to_json(), "bad_reply": bad.to_json()})
    if recipe.method != "dpo":
        rows = [{"prompt": row["prompt"], "reply": row["good_reply"], "label": True} for row in rows]
    steps = {"num_train_epochs": 1, "max_steps": TRAINING_STEPS, "logging_steps": 1}
    batches = {"per_device_train_batch_size": timed, "gradient_accumulation_steps": 1}
    short = replace(recipe, args=recipe.args | steps | batches)
    with TemporaryDirectory(prefix="osiris-check-") as folder:
        try:
            result = train_adapter(
                settings, rows, TrainingOptions(None, Path(folder) / "adapter", short, settings.model.seed, False)
            )
        except (OsirisError, RuntimeError, MemoryError) as error:
            report.advice.append(f"training failed: {' '.join(str(error).split())[:300]}")
            return
    report.training_weights = result.weights
    report.training_seconds_per_step = result.step_seconds / TRAINING_STEPS * batch / timed
    report.training_overhead_seconds = result.seconds - result.step_seconds
    prompts, replies = 0, 0
    for row in rows:
        texts = [str(row[name]) for name in ("good_reply", "bad_reply", "reply") if name in row]
        prompts += len(texts) * len(tokenizer(str(row["prompt"]))["input_ids"])
        replies += sum(len(tokenizer(text)["input_ids"]) for text in texts)
    report.training_tokens_per_second = (prompts + replies) / result.step_seconds


def _estimate_night(report: ModelCheck, settings: Settings) -> None:
    """The minutes of a nightly run: its training, and the drafts of both adapters on the held-out prompts."""
    if report.training_seconds_per_step is None or report.seconds_per_idea is None:
        return
    steps = _steps(load_recipe(settings.training.dpo_recipe, "dpo", "kto", "sft"), USUAL_PAIRS)
    sessions = settings.gate.holdout_days * 5 / 7
    drafts = 2 * sessions * len(settings.advise.tickers) * settings.gate.candidates
    training = steps * report.training_seconds_per_step + report.training_overhead_seconds
    report.night_minutes = (training + drafts * report.seconds_per_idea) / 60


def _steps(recipe: Recipe, rows: int) -> int:
    return -(-rows // rows_per_step(recipe)) * int(recipe.args.get("num_train_epochs", 3))


def _advise(report: ModelCheck, settings: Settings) -> None:
    """Say what to change, and why."""
    say = report.advice.append
    if report.valid_share is not None and report.valid_share < MIN_VALID_SHARE:
        say(f"only {report.valid_share:.0%} of the replies are valid: set model.constrained = true, or prime the model")
    if not is_starter(settings.model.base) and not settings.model.primed and settings.llm.backend == "local":
        say("the model was never taught to draft: run `osiris models prime` once, then set model.primed = true")
    if report.scored_share is not None and report.scored_share < 1:
        say(
            f"{1 - report.scored_share:.0%} of the ideas got no score, a number has probability "
            f"{report.number_probability or 0:.2g}: use another model.judge, or lower model.min_number_probability"
        )
    if report.night_minutes is not None and report.night_minutes > MAX_NIGHT_MINUTES:
        say(
            f"a night of {USUAL_PAIRS} pairs takes about {report.night_minutes:.0f} min, prompts have "
            f"{report.prompt_tokens or 0:.0f} tokens: show fewer [context] blocks, or train fewer epochs"
        )
    best = max(report.tokens_per_second, key=lambda size: report.tokens_per_second[size])
    usual = max(size for size in report.tokens_per_second if size <= settings.model.batch_size)
    if report.tokens_per_second[best] > MIN_GAIN * report.tokens_per_second[usual]:
        say(f"drafting is fastest in batches of {best}: set model.batch_size = {best}")
    threads = time_threads()
    fastest = min(threads, key=lambda count: threads[count])
    used = max(threads)
    if threads[used] > MIN_GAIN * threads[fastest]:
        say(f"{fastest} of {used} threads are faster beside what else runs here: set OMP_NUM_THREADS={fastest}")


def time_threads() -> dict[int, float]:
    """The seconds of a product of matrices with one thread, and with as many as torch uses now; the best of three."""
    import torch

    used = torch.get_num_threads()
    left, right = torch.randn(256, 1024), torch.randn(1024, 1024)
    seconds = {}
    try:
        for count in sorted({1, used}):
            torch.set_num_threads(count)
            times = []
            for _ in range(4):  # the first one starts the threads
                started = time.perf_counter()
                left @ right
                times.append(time.perf_counter() - started)
            seconds[count] = min(times[1:])
    finally:
        torch.set_num_threads(used)
    return seconds


def _memory_gb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / 1e9)
