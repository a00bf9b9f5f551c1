"""Small random language models of other makes than the starter, with tokenizers that write numbers differently."""

import itertools
from pathlib import Path

from osiris.llm.starter_data import RATIONALE_ENDINGS, random_draft_example, random_judge_example

OTHER_CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[reply]:{% endif %}"
)


def make_tokenizer(*, words=(), spaced=False, pieces=True, size=400):
    """A BPE tokenizer: `words` are whole pieces; `spaced` puts a piece first; `pieces` splits at words."""
    import random

    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(0)
    corpus = [
        text for make in (random_draft_example, random_judge_example) for _ in range(300) for text in _texts(make(rng))
    ]
    core = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pieces)
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\d"), "isolated"), byte_level])
    core.decoder = decoders.ByteLevel()
    if spaced:
        core.normalizer = normalizers.Prepend("~")
        core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"~|\d"), "isolated"), byte_level])
        core.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("~", " ")])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<end>", "[user]", "[reply]:"]
    core.train_from_iterator(
        corpus,
        trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    core.add_tokens([AddedToken(word, normalized=False, single_word=True) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<end>", chat_template=OTHER_CHAT_TEMPLATE, clean_up_tokenization_spaces=False
    )


def save_llama(folder: Path, tokenizer, likely=None, seed=0, positions=1024) -> Path:
    """Save a random Llama, the logits of some tokens multiplied by `likely[token]`; return its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=positions,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for token, times in (likely or {}).items():
            model.lm_head.weight[token] *= times
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_chain(folder: Path, tokenizer, tokens: list[int], positions: int = 1024) -> Path:
    """Save a Llama without attention that, after the first of different `tokens`, always writes the next one."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    wide = -(-len(tokenizer) // 8) * 8
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=wide, intermediate_size=8, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=positions, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        layer = model.model.layers[0]
        for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight, model.lm_head.weight):
            weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(len(tokenizer), wide))
        for now, then in itertools.pairwise(tokens):
            model.lm_head.weight[then, now] = 1.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_trained(folder: Path, answers: dict[str, str], steps=150) -> Path:
    """Save a small Llama that answers every chat that ends like one of `answers` with what stands beside it.

    Each answer is one token of its own, so that it is learned at once.
    """
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = make_tokenizer(words=answers.values())
    model = LlamaForCausalLM.from_pretrained(save_llama(folder, tokenizer, positions=2048))
    rng, optimizer = torch.Generator().manual_seed(0), torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        for end, answer in answers.items():
            asked = tokenizer(end, add_special_tokens=False)["input_ids"]
            before = torch.randint(len(tokenizer), (48,), generator=rng).tolist()
            answer_ids = [tokenizer.convert_tokens_to_ids(answer), tokenizer.eos_token_id]
            ids = torch.tensor([[*before, *asked, *answer_ids]])
            labels = ids.masked_fill(torch.arange(ids.shape[1]) < ids.shape[1] - len(answer_ids), -100)
            model(ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def _texts(example):
    return [example.prompt, example.answer, *RATIONALE_ENDINGS]
