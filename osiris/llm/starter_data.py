"""The training data of the starter models: random snapshots, random replies to them, and a score for each reply.

Sides, reasons and distances are random, so the drafter learns the form of an idea and no edge. The judge learns
`reference_score`, which is arithmetic on the prompt and knows nothing about the market either.
"""

import math
import random
from dataclasses import dataclass
from string import ascii_uppercase, digits

from osiris.core.ideas import Reply, Side
from osiris.llm.prompts import render
from osiris.policy.contracts import Feature

TARGET_ATRS = (1.0, 1.5, 2.0, 2.5, 3.0)
STOP_ATRS = (1.0, 1.5, 2.0)
CONFIDENCES = tuple(round(0.50 + 0.05 * step, 2) for step in range(9))
RATIONALE_ENDINGS = tuple(f"{direction}, {way}" for direction in ("up", "down") for way in ("follow", "fade"))
MIN_RATIO = 0.5
"""Up to this reward-to-risk, `reference_score` gives none of its first five points."""
MAX_RATIO = 3.0
"""From this reward-to-risk on, `reference_score` gives all of its first five points."""


@dataclass(frozen=True)
class StarterExample:
    """One conversation to learn: the prompt, the answer, and the parts of the answer that are decisions.

    Each of `hints` is a text that occurs once in the prompt, and a word. The model is trained to predict the word
    behind the text, so that it computes an intermediate result there, although it never writes it.
    """

    prompt: str
    answer: str
    decisions: tuple[str, ...]
    hints: tuple[tuple[str, str], ...] = ()


def random_symbol(rng: random.Random) -> str:
    """Return a made-up symbol in one of the forms that exchanges and Yahoo use."""

    def random_text(alphabet: str, shortest: int, longest: int) -> str:
        return "".join(rng.choices(alphabet, k=rng.randint(shortest, longest)))

    form = rng.random()
    if form < 0.50:
        return random_text(ascii_uppercase, 1, 5)
    if form < 0.60:
        return random_text(ascii_uppercase, 2, 4) + "-" + random_text(ascii_uppercase, 1, 1)
    if form < 0.68:
        return random_text(ascii_uppercase, 3, 5) + "-" + rng.choice(("USD", "EUR"))
    if form < 0.78:
        return random_text(digits, 3, 6) + "." + random_text(ascii_uppercase, 1, 2)
    if form < 0.83:
        return "^" + random_text(ascii_uppercase, 2, 5)
    if form < 0.88:
        return random_text(ascii_uppercase, 2, 6) + "=" + rng.choice("XF")
    return random_text(ascii_uppercase + rng.choice(("", digits)), 6, 15)


def random_features(rng: random.Random, unanimous: bool = False) -> list[Feature]:
    """Draw the features of `policy.context.features` independently, about as wide as they are on daily bars.

    `unanimous` gives all of them one direction.
    """
    # The order of the draws is part of the recipe: another order would train other starters under the same key.
    momentum = _heavy_tailed(rng, 1.6)
    strength = min(50.0, max(-50.0, rng.gauss(0, 18)))
    last = _heavy_tailed(rng, 0.9)
    if unanimous:
        momentum, strength, last = (math.copysign(value, momentum) for value in (momentum, strength, last))
    return [
        Feature("momentum", momentum, abs(momentum)),
        Feature("rsi", strength, 50 + strength),
        Feature("last", last, abs(last)),
    ]


def _heavy_tailed(rng: random.Random, width: float) -> float:
    """A normal draw, two or three times as wide in one case of three, since daily moves have heavy tails."""
    return rng.gauss(0, width) * rng.choice((1, 1, 1, 1, 2, 3))


def random_reply(rng: random.Random, ticker: str, features: list[Feature]) -> Reply:
    """Draw a reply that states one feature correctly and follows or fades it; everything else is random."""
    feature, follow = rng.choice(features), rng.random() < 0.5
    rising = (feature.direction == "up") == follow
    return Reply(
        ticker=ticker,
        rationale=f"{feature.name} {feature.direction}, {'follow' if follow else 'fade'}",
        side=Side.LONG if rising else Side.SHORT,
        target_atr=rng.choice(TARGET_ATRS),
        stop_atr=rng.choice(STOP_ATRS),
        confidence=rng.choice(CONFIDENCES),
    )


def is_coherent(reply: Reply, features: list[Feature]) -> bool:
    """Whether the reason names a feature with the direction that the snapshot shows, and the side agrees with it."""
    name, _, ending = reply.rationale.partition(" ")
    shown = {feature.name: feature.direction for feature in features}
    if ending not in RATIONALE_ENDINGS or shown.get(name) != ending.split(",")[0]:
        return False
    return (reply.side is Side.LONG) == (ending in ("up, follow", "down, fade"))


def reference_score(reply: Reply, features: list[Feature]) -> int:
    """Score an idea 0-10: up to five points for reward-to-risk, up to five for agreeing with the snapshot.

    `5 * log(ratio / 0.5) / log(3.0 / 0.5)` with `ratio = target_atr / stop_atr` held to 0.5-3.0, plus `5 * share` of
    the features whose direction is the side's (up for long), rounded half up.
    """
    return math.floor(5 * ratio_score(reply) + 5 * count_agreeing(reply, features) / len(features) + 0.5)


def ratio_score(reply: Reply) -> float:
    """The reward-to-risk on a logarithmic scale: 0 at 0.5 and less, 1 at 3.0 and more."""
    ratio = min(MAX_RATIO, max(MIN_RATIO, reply.target_atr / reply.stop_atr))
    return math.log(ratio / MIN_RATIO) / math.log(MAX_RATIO / MIN_RATIO)


def count_agreeing(reply: Reply, features: list[Feature]) -> int:
    """Count the features whose direction is that of the side."""
    wanted = "up" if reply.side is Side.LONG else "down"
    return sum(feature.direction == wanted for feature in features)


def random_draft_example(rng: random.Random) -> StarterExample:
    """Draw a prompt of the `advise` template and a reply to it."""
    ticker, features = random_symbol(rng), random_features(rng)
    reply = random_reply(rng, ticker, features)
    return StarterExample(render_draft_prompt(ticker, features), reply.to_json(), (reply.rationale, f'"{reply.side}"'))


def random_judge_example(rng: random.Random) -> StarterExample:
    """Draw an idea in the `hermes` template and its reference score.

    Half of the snapshots are unanimous: where features cancel out, it is hard to learn that the side matters.
    """
    features = random_features(rng, unanimous=rng.random() < 0.5)
    reply = random_reply(rng, random_symbol(rng), features)
    score = str(reference_score(reply, features))
    proposal = reply.to_json()
    hints = (
        (f'"side":"{reply.side}', str(count_agreeing(reply, features))),
        (proposal.partition(',"confidence"')[0], str(round(9 * ratio_score(reply)))),
    )
    return StarterExample(render_judge_prompt(proposal, render_snapshot(features)), score, (score,), hints)


def render_snapshot(features: list[Feature]) -> str:
    """Render features as the prompt shows them."""
    return render("snapshot", features=features).strip()


def render_draft_prompt(ticker: str, features: list[Feature]) -> str:
    """Render the prompt of the drafter."""
    return render("advise", ticker=ticker, snapshot=render_snapshot(features))


def render_judge_prompt(proposal: str, context: str) -> str:
    """Render the prompt of the judge."""
    return render("hermes", proposal=proposal, context=context)
