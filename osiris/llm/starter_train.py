"""Training of a starter model: its tokenizer and its weights. `starter.py` says where they are stored."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from osiris.llm.starter_data import RATIONALE_ENDINGS, StarterExample, random_draft_example, random_judge_example
from osiris.llm.starter_recipe import CHAT_TEMPLATE, StarterRecipe

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

END_TOKEN = "<|end|>"
PAD_TOKEN = "<|pad|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
PRETOKEN_PATTERN = r'\n|\d|"?[,{]"[a-z_]+":"?| ?[\p{L}_]+| ?[^\s\p{L}\d_]+|\s'
"""The tokenizer never merges across two matches: newlines and digits stand alone, a JSON key keeps its punctuation."""
EXAMPLE_FACTORIES: dict[str, Callable[[random.Random], StarterExample]] = {
    "drafter": random_draft_example,
    "judge": random_judge_example,
}
CORPUS_CONVERSATIONS = 2000
"""Conversations that the byte-pair merges are counted on."""


def build_tokenizer(recipe: StarterRecipe) -> "PreTrainedTokenizerFast":
    """Train the byte-level BPE tokenizer with the Phi-3 chat template.

    Digits, sides and the endings of a rationale are single tokens, so that each decision is one prediction.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(f"tokenizer {recipe.seed}")
    corpus = [
        text
        for make_example in EXAMPLE_FACTORIES.values()
        for _ in range(CORPUS_CONVERSATIONS)
        for text in _chat_texts(make_example(rng))
    ]
    special_tokens = [PAD_TOKEN, END_TOKEN, *ROLE_TOKENS]
    words = ["long", "short", *(f" {ending}" for ending in RATIONALE_ENDINGS)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKEN_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary - len(words),
        special_tokens=special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    core.add_tokens([AddedToken(word, single_word=not word.startswith(" "), normalized=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        additional_special_tokens=list(ROLE_TOKENS),
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=recipe.positions,
        clean_up_tokenization_spaces=False,
    )


def train_starter(
    recipe: StarterRecipe, tokenizer: "PreTrainedTokenizerFast", on_step: Callable[[int, float], None]
) -> "PreTrainedModel":
    """Train the model of `recipe`; `on_step(step, loss)` is called after each step. Same recipe, same weights.

    Afterwards the caller's random state and thread count are as before. Meanwhile the thread count is the recipe's,
    because sums that are split over another number of threads round differently.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            return _train(recipe, tokenizer, on_step)
    finally:
        torch.set_num_threads(threads)


def _train(
    recipe: StarterRecipe, tokenizer: "PreTrainedTokenizerFast", on_step: Callable[[int, float], None]
) -> "PreTrainedModel":
    import torch

    model = _fresh_model(recipe, tokenizer)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, recipe.beta2), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, recipe.steps))
    for step, (ids, mask, targets, weights) in enumerate(_batches(recipe, tokenizer)):
        # A token's logits predict the next one: logits (batch, tokens - 1, vocabulary), targets and weights from 1 on.
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), reduction="none")
        loss = (losses * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        on_step(step, loss.item())
    return model.eval()


def _fresh_model(recipe: StarterRecipe, tokenizer: "PreTrainedTokenizerFast") -> "PreTrainedModel":
    from transformers import Phi3Config, Phi3ForCausalLM

    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=recipe.positions,
        original_max_position_embeddings=recipe.positions,
        initializer_range=recipe.initializer_range,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Phi3ForCausalLM(config)


def learning_rate_factor(step: int, steps: int) -> float:
    """The share of the learning rate at a step: a rise over the first twentieth, then half a cosine down to zero."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _batches(recipe: StarterRecipe, tokenizer: "PreTrainedTokenizerFast") -> "Iterator[tuple[Tensor, ...]]":
    """Yield ids, mask, targets and loss weights, each of shape (batch, tokens), padded on the right."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    rng = training_rng(recipe.kind, recipe.seed)
    make_example = EXAMPLE_FACTORIES[recipe.kind]
    for _ in range(recipe.steps):
        rows = [encode_example(make_example(rng), recipe, tokenizer) for _ in range(recipe.batch)]
        ids, targets, weights = (
            pad_sequence([torch.tensor(row[part]) for row in rows], batch_first=True) for part in range(3)
        )
        mask = pad_sequence([torch.ones(len(row[0]), dtype=torch.long) for row in rows], batch_first=True)
        yield ids, mask, targets, weights


def training_rng(kind: str, seed: int) -> random.Random:
    """Return the random generator from which a starter's conversations are drawn, in order."""
    return random.Random(f"{kind} {seed}")


def token_weights(
    offsets: Sequence[tuple[int, int]],
    prompt: str,
    answer: str,
    decisions: Sequence[str],
    weights: tuple[float, float],
) -> list[float]:
    """The weight in the loss of each token of prompt and answer, whose characters are given by `offsets`.

    `weights` are those of a token of the prompt, and of one of the `decisions` in the answer; any other weighs 1.
    """
    of_prompt, of_decision = weights
    decisive: set[int] = set()
    for decision in decisions:
        start = len(prompt) + answer.index(decision)
        decisive.update(range(start, start + len(decision)))
    return [
        of_prompt if start < len(prompt) else of_decision if not decisive.isdisjoint(range(start, end)) else 1.0
        for start, end in offsets
    ]


def encode_example(
    example: StarterExample, recipe: StarterRecipe, tokenizer: "PreTrainedTokenizerFast"
) -> tuple[list[int], list[int], list[float]]:
    """Return the token ids, the token to predict at each position, and the weight of that prediction in the loss."""
    prompt_text, answer_text = _chat_texts(example)
    encoded = tokenizer(prompt_text + answer_text, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    targets = list(ids)
    shares = (recipe.prompt_weight, recipe.decision_weight)
    weights = token_weights(offsets, prompt_text, example.answer, example.decisions, shares)
    for text, word in example.hints:
        after = prompt_text.index(text) + len(text)
        # The hint is the target of the first token behind its text, although the prompt goes on otherwise there.
        position = next(index for index, (start, _) in enumerate(offsets) if start >= after)
        targets[position] = tokenizer.convert_tokens_to_ids(word)
        weights[position] = recipe.decision_weight
    return ids, targets, weights


def _chat_texts(example: StarterExample) -> tuple[str, str]:
    """Return the question in the chat template, and the answer up to its end token."""
    return f"<|user|>\n{example.prompt}{END_TOKEN}\n<|assistant|>\n", f"{example.answer}{END_TOKEN}"
