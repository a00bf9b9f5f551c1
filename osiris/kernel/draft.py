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
from osiris.kernel.measure import Past
from osiris.kernel.patch import LONGEST_NAME, Patch, change_of, patch_of
from osiris.kernel.patch_log import PatchBook
from osiris.kernel.repo import PolicyRepo, Version
from osiris.llm.generate import unbound
from osiris.llm.prompts import render
from osiris.policy import PATCHABLE
from osiris.storage.patches import TRACES, PatchLists

FACTORS = (0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0)
STEPS = (0.1, 0.25, 0.4, 0.5, 0.6)
COMPARISONS = {
    cst.LessThan: cst.LessThanEqual, cst.LessThanEqual: cst.LessThan, cst.GreaterThan: cst.GreaterThanEqual,
    cst.GreaterThanEqual: cst.GreaterThan,
}  # fmt: skip
HEADER = re.compile(r"--- \S")
TRIES, MOST_SEEN, PATCH_TOKENS = 200, 10, 512


def draft_patch(repo: PolicyRepo, book: PatchBook, past: Past, lists: PatchLists, notes: list[str]) -> Patch | None:
    """A patch of the live policy that has no verdict yet, by `kernel.drafter`; `None` when there is none to be had.

    What a model wrote that is no patch becomes a dead letter, with a note.
    """
    kind, key = past.settings.kernel.drafter, past.settings.kernel.key.get_secret_value()
    live, known = repo.head(), book.patches()
    rng = random.Random(stable_hash(past.settings.model.seed, live.commit, past.as_of))
    if kind == "mutation":
        return mutated(live, set(known), rng, key)
    if kind == "model":
        text = ""
        try:
            traces, left_out = lists.traces(MOST_SEEN)
            if left_out:
                notes.append(f"{left_out} items of {TRACES} that are no traces were left out")
            text = written(live, rng.choice(PATCHABLE), book, past, traces, rng.randrange(2**31))
            patch = patch_of(
                diff_in(text), live, repo, re.sub(r"[^\w .:@/+-]", "_", past.drafter.name)[-LONGEST_NAME:], key
            )
        except BadInput as error:
            notes.append(f"the model drafted no patch: {error}")
            if text:
                lists.bury(text, str(error), past.as_of)
            return None
        if patch.id in known:
            notes.append(f"the model drafted patch {patch.id} again, which was {known[patch.id]['state']}")
            return None
        return patch
    return None


def written(live: Version, target: str, book: PatchBook, past: Past, traces: list[dict[str, Any]], seed: int) -> str:
    """What the drafting model writes when it is shown a file, recent `traces` and earlier verdicts on patches of it.

    Raises `BadInput` when that is more than the model reads.
    """
    verdicts = [patch for patch in book.patches().values() if patch["target"] == target and "reason" in patch]
    shown = render(
        "patch",
        target=target,
        text=live.files[target],
        traces=traces,
        verdicts=verdicts[-MOST_SEEN:],
    )
    tokenizer = past.drafter.tokenizer
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": shown}], tokenize=False, add_generation_prompt=True
    )
    asked, most = len(tokenizer(chat, add_special_tokens=False)["input_ids"]), tokenizer.model_max_length
    if asked + PATCH_TOKENS > most:
        raise BadInput(
            f"a model that reads {asked} tokens and writes {PATCH_TOKENS}", f"{past.drafter.name}, of {most} in all",
            "use another model.base, or kernel.drafter = \"mutation\"",
        )  # fmt: skip
    free = unbound(past.settings)
    free = free.model_copy(update={"model": free.model.model_copy(update={"max_new_tokens": PATCH_TOKENS})})
    with past.drafter.writing(free, seed) as write:
        return write([chat])[0]


def diff_in(text: str) -> str:
    """The unified diff in what a model wrote: from its first header to the end, or to the end of its code block."""
    lines = text.split("\n")
    starts = [place for place, (old, new) in enumerate(pairwise(lines)) if HEADER.match(old) and new.startswith("+++ ")]
    if not starts:
        raise BadInput("a unified diff", repr(text[:80]), "see what the model wrote: osiris kernel queue")
    start = end = starts[0]
    while end < len(lines) and (not lines[end] or lines[end][0] in " +-@\\"):
        end += 1
    return "\n".join(lines[start:end]).rstrip("\n") + "\n"


def mutated(live: Version, known: set[str], rng: random.Random, key: str = "") -> Patch | None:
    """The first of `TRIES` random mutations of a file that is not among the `known` patches."""
    for _ in range(TRIES):
        target = rng.choice(PATCHABLE)
        tree = cst.parse_module(live.files[target])
        places = mutations(tree)
        if not places:
            continue
        old, choices = rng.choice(places)
        after = tidy(tree.deep_replace(old, rng.choice(choices)).code)
        if after != live.files[target]:
            patch = change_of(target, after, live, "mutation", key)
            if patch.id not in known:
                return patch
    return None


def tidy(text: str) -> str:
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


def mutations(tree: cst.Module) -> list[tuple[cst.CSTNode, list[cst.CSTNode]]]:
    """Every node that can be changed, with what it may become: a constant, a comparison, one feature of several."""
    numbers = [
        (node, _moved(node)) for statement in tree.body for node in m.findall(statement, m.Integer() | m.Float())
    ]
    comparisons = [
        (node, [node.with_changes(operator=COMPARISONS[type(node.operator)]())])
        for node in m.findall(tree, m.ComparisonTarget())
        if type(node.operator) in COMPARISONS
    ]
    features = [
        (node, [node.with_changes(elements=[e for e in node.elements if e is not one]) for one in node.elements])
        for node in m.findall(tree, m.List())
        if len(node.elements) > 1
    ]
    return [(node, choices) for node, choices in (*numbers, *comparisons, *features) if choices]


def _moved(node: cst.Integer | cst.Float) -> list[cst.CSTNode]:
    """A constant by each of `FACTORS`; one that is 0.0, as a threshold that lets all through, by steps."""
    if isinstance(node, cst.Float) and float(node.evaluated_value) == 0:
        return [node.with_changes(value=repr(step)) for step in STEPS]
    return [scaled for factor in FACTORS if (scaled := _scaled(node, factor)).value != node.value]


def _scaled(node: cst.Integer | cst.Float, factor: float) -> cst.Integer | cst.Float:
    value = float(node.evaluated_value) * factor
    if isinstance(node, cst.Integer):
        return node.with_changes(value=str(max(0, round(value))))
    return node.with_changes(value=repr(round(value, 6)))
