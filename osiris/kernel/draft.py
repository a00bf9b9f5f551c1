"""Drafts patches when nobody has submitted one, by mutating the policy's syntax tree or by a language model."""

import ast
import logging
import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import libcst as cst
from libcst import matchers as m

from osiris.core.errors import BadInput
from osiris.core.ideas import stable_hash
from osiris.kernel.measure import MeasurementContext
from osiris.kernel.patch import MAX_AUTHOR_CHARACTERS, Patch, patch_from_diff, patch_from_text
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.repo import PolicyRepo, PolicyVersion
from osiris.llm.generate import unconstrained
from osiris.policy import PATCHABLE_FILES
from osiris.storage.events import TRACES_KEY
from osiris.storage.patches import PatchLists

log = logging.getLogger(__name__)

SCALE_FACTORS = (0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0)
ZERO_REPLACEMENTS = (0.1, 0.25, 0.4, 0.5, 0.6)
"""Values for a constant 0.0, which no factor changes: a threshold that lets everything through."""
COMPARISON_SWAPS: dict[type[cst.BaseCompOp], Callable[[], cst.BaseCompOp]] = {
    cst.LessThan: cst.LessThanEqual, cst.LessThanEqual: cst.LessThan, cst.GreaterThan: cst.GreaterThanEqual,
    cst.GreaterThanEqual: cst.GreaterThan,
}  # fmt: skip
Mutation = tuple[cst.CSTNode, list[cst.CSTNode]]
"""A node of the syntax tree, and what it may be replaced by."""
DIFF_HEADER = re.compile(r"--- \S")
MAX_MUTATION_TRIES = 200
MAX_PROMPT_ITEMS = 10
"""How many traces, and how many earlier verdicts, the model is shown."""
MAX_PATCH_TOKENS = 512


def draft_patch(repo: PolicyRepo, patch_log: PatchLog, context: MeasurementContext, lists: PatchLists) -> Patch | None:
    """Draft a patch of the live policy that has no verdict yet, as `kernel.drafter` says; `None` if there is none.

    A model's text that is no patch becomes a dead letter, with a warning.
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
                log.warning("%s items of %s that are no traces were left out", left_out, TRACES_KEY)
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
            log.warning("the model drafted no patch: %s", error)
            if text:
                lists.dead_letter(text, str(error), context.as_of)
            return None
        if patch.id in known:
            log.warning("the model drafted patch %s again, which was %s", patch.id, known[patch.id]["state"])
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
    """Show the drafting model a file, recent `traces` and earlier verdicts on its patches; returns what it writes.

    Raises `BadInput` when the prompt is longer than the model can read.
    """
    verdicts = [patch for patch in patch_log.patches().values() if patch["target"] == target and "reason" in patch]
    prompt = context.snapshot_source.prompts.render(
        "patch",
        target=target,
        text=live.files[target],
        traces=traces,
        verdicts=verdicts[-MAX_PROMPT_ITEMS:],
    )
    tokenizer = context.drafter.tokenizer
    messages = [{"role": "user", "content": prompt}]
    # A text, since nothing is tokenized; the annotation of transformers names every form that it could have.
    chat = cast(str, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    prompt_tokens = len(tokenizer(chat, add_special_tokens=False)["input_ids"])
    max_tokens = tokenizer.model_max_length
    if prompt_tokens + MAX_PATCH_TOKENS > max_tokens:
        raise BadInput(
            f"a model that reads {prompt_tokens} tokens and writes {MAX_PATCH_TOKENS}",
            f"{context.drafter.name}, of {max_tokens} in all",
            "use another model.base, or kernel.drafter = \"mutation\"",
        )  # fmt: skip
    settings = unconstrained(context.settings)
    settings = settings.with_model(max_new_tokens=MAX_PATCH_TOKENS)
    with context.drafter.completer(settings, seed) as write:
        return write([chat])[0]


def extract_diff(text: str) -> str:
    """The unified diff in a model's text: from its first header to the end of the diff's lines; raises `BadInput`."""
    lines = text.split("\n")
    starts = [
        number for number, (old, new) in enumerate(pairwise(lines)) if DIFF_HEADER.match(old) and new.startswith("+++ ")
    ]
    if not starts:
        raise BadInput("a unified diff", repr(text[:80]), "see what the model wrote: osiris kernel queue")
    start = end = starts[0]
    while end < len(lines) and (not lines[end] or lines[end][0] in " +-@\\"):
        end += 1
    return "\n".join(lines[start:end]).rstrip("\n") + "\n"


def mutate_policy(live: PolicyVersion, known: set[str], rng: random.Random, key: str = "") -> Patch | None:
    """A random mutation of one file that is not among the `known` patches; `None` after `MAX_MUTATION_TRIES`."""
    for _ in range(MAX_MUTATION_TRIES):
        target = rng.choice(PATCHABLE_FILES)
        tree = cst.parse_module(live.files[target])
        candidates = find_mutations(tree)
        if not candidates:
            continue
        old, choices = rng.choice(candidates)
        mutated = cast(cst.Module, tree.deep_replace(old, rng.choice(choices)))
        after = tidy_source(mutated.code)
        if after != live.files[target]:
            patch = patch_from_text(target, after, live, "mutation", key)
            if patch.id not in known:
                return patch
    return None


def tidy_source(text: str) -> str:
    """A mutated file without the faults that ruff reports: blanks at line ends, and names that are no longer used.

    An unused name gets an underscore in front.
    """
    text = re.sub(r"\n[ \t]*(?=\n[ \t]*[\])])|[ \t]+$", "", text, flags=re.M)
    for function in ast.parse(text).body:
        if isinstance(function, ast.FunctionDef):
            names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
            read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
            for unused in {node.id for node in names if isinstance(node.ctx, ast.Store)} - read:
                if not unused.startswith("_"):
                    text = re.sub(rf"\b{unused}\b(?=[^\n]*= )", f"_{unused}", text)
    return text


def find_mutations(tree: cst.Module) -> list[Mutation]:
    """Every node that can be mutated, with its replacements: a number, a comparison, or a list without one element."""
    numbers: list[Mutation] = [
        (node, _constant_replacements(node))
        for statement in tree.body
        for node in m.findall(statement, m.Integer() | m.Float())
        if isinstance(node, cst.Integer | cst.Float)
    ]
    comparisons: list[Mutation] = [
        (node, [node.with_changes(operator=COMPARISON_SWAPS[type(node.operator)]())])
        for node in m.findall(tree, m.ComparisonTarget())
        if isinstance(node, cst.ComparisonTarget) and type(node.operator) in COMPARISON_SWAPS
    ]
    features: list[Mutation] = [
        (node, [node.with_changes(elements=[e for e in node.elements if e is not one]) for one in node.elements])
        for node in m.findall(tree, m.List())
        if isinstance(node, cst.List) and len(node.elements) > 1
    ]
    return [(node, choices) for node, choices in (*numbers, *comparisons, *features) if choices]


def _constant_replacements(node: cst.Integer | cst.Float) -> list[cst.CSTNode]:
    """A number times each of `SCALE_FACTORS`; for 0.0 the `ZERO_REPLACEMENTS`."""
    if isinstance(node, cst.Float) and float(node.evaluated_value) == 0:
        return [node.with_changes(value=repr(step)) for step in ZERO_REPLACEMENTS]
    return [scaled for factor in SCALE_FACTORS if (scaled := _scale_constant(node, factor)).value != node.value]


def _scale_constant(node: cst.Integer | cst.Float, factor: float) -> cst.Integer | cst.Float:
    value = float(node.evaluated_value) * factor
    if isinstance(node, cst.Integer):
        return node.with_changes(value=str(max(0, round(value))))
    return node.with_changes(value=repr(round(value, 6)))
