"""How likely a judge is to say each of the numbers 0 to 10, read from the logits behind its prompt.

An example: behind the prompt the token `7` has probability 0.3, `1` has 0.2, and behind `1` the token `0` has 0.5. So
the judge says 7 with 0.3, and 10 with 0.1. It says 1 with at most 0.1, where no other digit follows.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from osiris.llm.scores import MAX_SCORE, NumberOdds

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

SPELLINGS = ("{}", " {}")
"""A number may stand directly behind the prompt, or after a space."""
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class NumberSpellings:
    """The tokens of each number, in all ways in which a tokenizer writes it, and the tokens that begin with a digit."""

    numbers: tuple[frozenset[Tokens], ...]
    digits: tuple[int, ...]

    @property
    def beginnings(self) -> list[Tokens]:
        """The beginnings of spellings that have more tokens: what follows each has to be read. The shortest first."""
        longer = {tokens[:end] for spelled in self.numbers for tokens in spelled for end in range(1, len(tokens))}
        return sorted(longer, key=lambda tokens: (len(tokens), tokens))


@dataclass(frozen=True)
class CachedPrompts:
    """Prompts that a model has read: `ids` and `mask` (rows, tokens), the cache, and the logits behind each (rows, n).

    The cache may hold more tokens than the prompts; these are cut off when it is used.
    """

    model: "PreTrainedModel"
    ids: "Tensor"
    mask: "Tensor"
    cache: "Cache"
    logits: "Tensor"

    def read_on(self, tokens: Tokens) -> "Tensor":
        """The logarithm of the probability of each token behind each prompt and `tokens`, shape (rows, vocabulary)."""
        import torch

        if not tokens:
            return torch.log_softmax(self.logits.float(), dim=-1)
        added = torch.tensor([tokens], device=self.ids.device).expand(len(self.ids), -1)
        mask = torch.cat([self.mask, torch.ones_like(added)], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        try:
            if surplus := self.cache.get_seq_length() - self.ids.shape[1]:
                self.cache.crop(-surplus)  # a negative number says how many tokens go
            read, cache = added, self.cache
        except (ValueError, NotImplementedError, AttributeError):  # caches of sliding windows forget their beginning
            read, cache = torch.cat([self.ids, added], dim=1), None
        output = self.model(
            input_ids=read,
            attention_mask=mask,
            position_ids=positions[:, -read.shape[1] :],
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        )
        return torch.log_softmax(output.logits[:, -1].float(), dim=-1)


@lru_cache(maxsize=8)
def number_spellings(tokenizer: "PreTrainedTokenizerBase") -> NumberSpellings:
    """The spellings of the numbers 0 to 10 in a tokenizer's tokens.

    What a space does at the beginning of a text differs between tokenizers. So every number is spelled behind a sign,
    and the sign is taken away.
    """

    def spell(text: str) -> Tokens:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    def behind(sign: str, text: str) -> Tokens:
        alone, both = spell(sign), spell(sign + text)
        return both[len(alone) :] if both[: len(alone)] == alone else ()

    numbers = []
    for number in range(MAX_SCORE + 1):
        texts = [pattern.format(number) for pattern in SPELLINGS]
        spelled = {behind(sign, text) for text in texts for sign in (":", "\n")} | {spell(str(number))}
        numbers.append(frozenset(tokens for tokens in spelled if tokens))
    digits = tuple(sorted(place for text, place in tokenizer.get_vocab().items() if text[:1].isdigit()))
    return NumberSpellings(tuple(numbers), digits)


def read_number_odds(prompts: CachedPrompts, spellings: NumberSpellings) -> list[NumberOdds]:
    """The odds of the numbers behind each prompt."""
    import torch

    follows = {tokens: prompts.read_on(tokens) for tokens in ((), *spellings.beginnings)}
    digits = torch.tensor(spellings.digits, dtype=torch.long, device=prompts.ids.device)
    columns = []
    for spelled in spellings.numbers:
        total = torch.zeros(len(prompts.ids), device=prompts.ids.device)
        for tokens in sorted(spelled):
            steps = [follows[tokens[:end]][:, tokens[end]] for end in range(len(tokens))]
            likelihood = torch.stack(steps).sum(0).exp()
            if tokens in follows:  # a longer number begins alike: 1 is only said where no digit follows
                likelihood = likelihood * (1 - follows[tokens][:, digits].exp().sum(1)).clamp(min=0)
            total += likelihood
        columns.append(total)
    return [NumberOdds(tuple(row)) for row in torch.stack(columns, dim=1).tolist()]
