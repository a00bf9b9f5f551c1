"""Drafting patches when nobody has submitted one: by mutation of the policy's syntax tree, or by a language model."""

import ast
import random
import re
from itertools import pairwise
from typing import Any

import libcst as cst
from libcst import matchers as m

from osiris.core.errors import BadInput
from osiris.core.ideas import stable_hash
from osiris.kernel.measure import MeasurementContext
from osiris.kernel.patch import MAX_AUTHOR_CHARACTERS, Patch, patch_from_diff, patch_from_text
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.repo import PolicyRepo, PolicyVersion
from osiris.llm.generate import unconstrained
from osiris.llm.prompts import render
from osiris.policy import PATCHABLE_FILES
from osiris.storage.patches import TRACES_KEY, PatchLists

SCALE_FACTORS = (0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0)
ZERO_REPLACEMENTS = (0.1, 0.25, 0.4, 0.5, 0.6)
COMPARISON_SWAPS = {
    cst.LessThan: cst.LessThanEqual, cst.LessThanEqual: cst.LessThan, cst.GreaterThan: cst.GreaterThanEqual,
    cst.GreaterThanEqual: cst.GreaterThan,
}  # fmt: skip
DIFF_HEADER = re.compile(r"--- \S")
MAX_MUTATION_TRIES, MAX_PROMPT_ITEMS, MAX_PATCH_TOKENS = 200, 10, 512


def draft_patch(
    repo: PolicyRepo, patch_log: PatchLog, context: MeasurementContext, lists: PatchLists, notes: list[str]
) -> Patch | None:
    """A patch of the live policy that has no verdict yet, by `kernel.drafter`; `None` when there is none to be had.

    What a model wrote that is no patch becomes a dead letter, with a note.
    """
    kind, key = context.settings.kernel.drafter, context.settings.kernel.key.get_secret_value()
    live, known = repo.head(), patch_log.patches()
    rng = random.Random(stable_hash(context.settings.model.seed, live.commit, context.as_of))
    if kind == "mutation":
        return mutate_policy(live, set(known), rng, key)
    if kind == "model":
        text = ""
        try:
            traces, left_out = lists.read_traces(MAX_PROMPT_ITEMS)
            if left_out:
                notes.append(f"{left_out} items of {TRACES_KEY} that are no traces were left out")
            text = generate_patch_text(
                live, rng.choice(PATCHABLE_FILES), patch_log, context, traces, rng.randrange(2**31)
            )
            patch = patch_from_diff(
                extract_diff(text),
                live,
                repo,
                re.sub(r"[^\w .:@/+-]", "_", context.drafter.name)[-MAX_AUTHOR_CHARACTERS:],
                key,
            )
        except BadInput as error:
            notes.append(f"the model drafted no patch: {error}")
            if text:
                lists.dead_letter(text, str(error), context.as_of)
            return None
        if patch.id in known:
            notes.append(f"the model drafted patch {patch.id} again, which was {known[patch.id]['state']}")
            return None
        return patch
    return None


def generate_patch_text(
    live: PolicyVersion,
    target: str,
    patch_log: PatchLog,
    context: MeasurementContext,
    traces: list[dict[str, Any]],
    seed: int,
) -> str:
    """What the drafting model writes when it is shown a file, recent `traces` and earlier verdicts on patches of it.

    Raises `BadInput` when that is more than the model reads.
    """
    verdicts = [patch for patch in patch_log.patches().values() if patch["target"] == target and "reason" in patch]
    prompt = render(
        "patch",
        target=target,
        text=live.files[target],
        traces=traces,
        verdicts=verdicts[-MAX_PROMPT_ITEMS:],
    )
    tokenizer = context.drafter.tokenizer
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    prompt_tokens, max_tokens = len(tokenizer(chat, add_special_tokens=False)["input_ids"]), tokenizer.model_max_length
    if prompt_tokens + MAX_PATCH_TOKENS > max_tokens:
        raise BadInput(
            f"a model that reads {prompt_tokens} tokens and writes {MAX_PATCH_TOKENS}", f"{context.drafter.name}, of {max_tokens} in all",
            "use another model.base, or kernel.drafter = \"mutation\"",
        )  # fmt: skip
    settings = unconstrained(context.settings)
    settings = settings.model_copy(
        update={"model": settings.model.model_copy(update={"max_new_tokens": MAX_PATCH_TOKENS})}
    )
    with context.drafter.completer(settings, seed) as write:
        return write([chat])[0]


def extract_diff(text: str) -> str:
    """The unified diff in what a model wrote: from its first header to the end, or to the end of its code block."""
    lines = text.split("\n")
    starts = [
        place for place, (old, new) in enumerate(pairwise(lines)) if DIFF_HEADER.match(old) and new.startswith("+++ ")
    ]
    if not starts:
        raise BadInput("a unified diff", repr(text[:80]), "see what the model wrote: osiris kernel queue")
    start = end = starts[0]
    while end < len(lines) and (not lines[end] or lines[end][0] in " +-@\\"):
        end += 1
    return "\n".join(lines[start:end]).rstrip("\n") + "\n"


def mutate_policy(live: PolicyVersion, known: set[str], rng: random.Random, key: str = "") -> Patch | None:
    """The first of `TRIES` random mutations of a file that is not among the `known` patches."""
    for _ in range(MAX_MUTATION_TRIES):
        target = rng.choice(PATCHABLE_FILES)
        tree = cst.parse_module(live.files[target])
        candidates = find_mutations(tree)
        if not candidates:
            continue
        old, choices = rng.choice(candidates)
        after = tidy_source(tree.deep_replace(old, rng.choice(choices)).code)
        if after != live.files[target]:
            patch = patch_from_text(target, after, live, "mutation", key)
            if patch.id not in known:
                return patch
    return None


def tidy_source(text: str) -> str:
    """A mutated file as ruff takes it: without blanks at ends of lines, what is not used any more as `_name`."""
    text = re.sub(r"\n[ \t]*(?=\n[ \t]*[\])])|[ \t]+$", "", text, flags=re.M)
    for function in ast.parse(text).body:
        if isinstance(function, ast.FunctionDef):
            names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
            read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
            for unused in {node.id for node in names if isinstance(node.ctx, ast.Store)} - read:
                if not unused.startswith("_"):
                    text = re.sub(rf"\b{unused}\b(?=[^\n]*= )", f"_{unused}", text)
    return text


def find_mutations(tree: cst.Module) -> list[tuple[cst.CSTNode, list[cst.CSTNode]]]:
    """Every node that can be changed, with what it may become: a constant, a comparison, one feature of several."""
    numbers = [
        (node, _constant_replacements(node))
        for statement in tree.body
        for node in m.findall(statement, m.Integer() | m.Float())
    ]
    comparisons = [
        (node, [node.with_changes(operator=COMPARISON_SWAPS[type(node.operator)]())])
        for node in m.findall(tree, m.ComparisonTarget())
        if type(node.operator) in COMPARISON_SWAPS
    ]
    features = [
        (node, [node.with_changes(elements=[e for e in node.elements if e is not one]) for one in node.elements])
        for node in m.findall(tree, m.List())
        if len(node.elements) > 1
    ]
    return [(node, choices) for node, choices in (*numbers, *comparisons, *features) if choices]


def _constant_replacements(node: cst.Integer | cst.Float) -> list[cst.CSTNode]:
    """A constant by each of `FACTORS`; one that is 0.0, as a threshold that lets all through, by steps."""
    if isinstance(node, cst.Float) and float(node.evaluated_value) == 0:
        return [node.with_changes(value=repr(step)) for step in ZERO_REPLACEMENTS]
    return [scaled for factor in SCALE_FACTORS if (scaled := _scale_constant(node, factor)).value != node.value]


def _scale_constant(node: cst.Integer | cst.Float, factor: float) -> cst.Integer | cst.Float:
    value = float(node.evaluated_value) * factor
    if isinstance(node, cst.Integer):
        return node.with_changes(value=str(max(0, round(value))))
    return node.with_changes(value=repr(round(value, 6)))
