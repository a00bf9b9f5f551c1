"""Snapshots of a workspace: the bars, notes and memories that its prompts show, at any past or present moment.

An example: the nightly comparison takes the snapshot of AAPL at a close two months ago. It shows the bars, the notes
and the outcomes that were known then, in the same blocks and templates as the prompts of today.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

import pandas as pd

from osiris.config.sections import BlockName
from osiris.config.settings import Settings
from osiris.core.errors import NoPrices
from osiris.drafting.blocks import BAR_BLOCKS, Scene, describe_scene
from osiris.drafting.memory import Memory, load_memory
from osiris.drafting.prompt_form import PromptForm
from osiris.drafting.snapshot import Snapshot, take_snapshot
from osiris.llm.chat import token_counter
from osiris.llm.loader import load_tokenizer
from osiris.llm.prompts import Prompts
from osiris.market.bar_frames import BarArrays, to_bar_arrays
from osiris.market.calendars import calendar_of
from osiris.market.provider import BarProvider
from osiris.policy.contracts import Policy
from osiris.storage.advice import AdviceStore
from osiris.storage.notes import NoteIndex, NoteStore

log = logging.getLogger(__name__)

HISTORY_DAYS = 150
"""Calendar days of bars that the features of a policy read: `WARM_UP_BARS` sessions, with holidays to spare."""
BLOCK_HISTORY_DAYS = 400
"""Calendar days of bars that the other blocks read: a year of sessions, with holidays to spare."""


@dataclass(frozen=True)
class SnapshotSource:
    """What snapshots are made of: the prices, the stored ideas and the settings of a workspace."""

    prices: BarProvider
    advice: AdviceStore
    settings: Settings

    @cached_property
    def form(self) -> PromptForm:
        """The blocks and the templates of the prompts."""
        return PromptForm(self.settings)

    @property
    def prompts(self) -> Prompts:
        """The templates of the workspace."""
        return self.form.prompts

    @property
    def prompt_version(self) -> str:
        """The version of the prompts."""
        return self.form.version

    @property
    def history(self) -> timedelta:
        """How far back the bars of a snapshot are read."""
        return timedelta(days=HISTORY_DAYS if self.form.blocks == ("features",) else BLOCK_HISTORY_DAYS)


@dataclass(frozen=True)
class BlockMaterial:
    """What the blocks of several moments are made of, read once for all of them.

    `count_tokens` says how long a prompt is, and `room` how long it may be, both in tokens.
    """

    form: PromptForm
    benchmark: BarArrays | None
    notes: NoteIndex
    memory: Memory | None
    count_tokens: Callable[[str], int]
    room: int


def take_snapshots(
    source: SnapshotSource, policy: Policy, tickers: Sequence[str], moments: Sequence[datetime]
) -> list[Snapshot]:
    """Snapshots of every ticker at every moment, by moment; a ticker without prices is left out with a warning."""
    first, last = min(moments), max(moments)
    benchmark = _benchmark(source)
    wanted = list(dict.fromkeys([*tickers, *benchmark]))
    bars = source.prices.get_many_bars(wanted, first - source.history, last, last)
    arrays = {ticker: to_bar_arrays(frame) for ticker, frame in bars.items()}
    material = None if source.form.is_plain else _gather(source, arrays, last)
    snapshots, dropped = [], Counter[str]()
    for moment in sorted(moments):
        for ticker in dict.fromkeys(tickers):
            if ticker not in arrays:
                continue
            try:
                plain = take_snapshot(ticker, arrays[ticker], moment, policy)
            except NoPrices as error:
                log.warning("%s: %s", ticker, error)
                continue
            snapshot = add_blocks(plain, arrays[ticker], material, dropped) if material else plain
            snapshots.append(replace(snapshot, prompt_version=source.prompt_version))
    for block, count in dropped.items():
        log.warning("the block %s did not fit into %s of %s prompts", block, count, len(snapshots))
    return snapshots


def _benchmark(source: SnapshotSource) -> list[str]:
    """The ticker that the block `strength` compares with, if it is wanted."""
    named = source.settings.context.benchmark
    return [named] if named and "strength" in source.form.blocks else []


def _gather(source: SnapshotSource, arrays: dict[str, BarArrays], last: datetime) -> BlockMaterial:
    """Read the notes and memories up to the last moment, and find out how long a prompt may be."""
    settings = source.settings
    tokenizer = load_tokenizer(settings.model.base, "drafter", settings)
    benchmark = _benchmark(source)
    needs_memory = {"memory", "examples"} & {*source.form.blocks}
    return BlockMaterial(
        form=source.form,
        benchmark=arrays.get(benchmark[0]) if benchmark else None,
        notes=NoteIndex(NoteStore(settings.notes_file).read() if "notes" in source.form.blocks else []),
        memory=load_memory(source.advice, last) if needs_memory else None,
        count_tokens=token_counter(tokenizer),
        room=min(settings.context.max_tokens, tokenizer.model_max_length - settings.model.max_new_tokens),
    )


def add_blocks(snapshot: Snapshot, bars: BarArrays, material: BlockMaterial, dropped: Counter[str]) -> Snapshot:
    """The snapshot with all blocks that fit; `dropped` counts those that did not.

    The last block is dropped first. The features always stay, since the policy decides on them.
    """
    prompts = material.form.prompts
    blocks = list(_describe_blocks(snapshot, bars, material))
    while True:
        shown = snapshot.with_blocks(blocks, prompts)
        if len(blocks) == 1 or material.count_tokens(shown.prompt) <= material.room:
            return shown
        name, text = blocks.pop()
        dropped[name] += bool(text)


def _describe_blocks(snapshot: Snapshot, bars: BarArrays, material: BlockMaterial) -> Iterator[tuple[BlockName, str]]:
    """The text of each block, by name, in the order of the blocks."""
    form, settings = material.form, material.form.settings
    scene = Scene(
        ticker=snapshot.ticker,
        as_of=snapshot.as_of,
        bars=bars.complete_at(snapshot.as_of).adjust_splits(),
        atr=snapshot.atr,
        benchmark=material.benchmark.complete_at(snapshot.as_of).adjust_splits() if material.benchmark else None,
        calendar=calendar_of(snapshot.ticker, settings.prices),
        settings=settings.context,
    )
    for block in form.blocks:
        if block == "features":
            yield block, form.prompts.render("snapshot", features=snapshot.features).strip()
        elif block in BAR_BLOCKS:
            yield block, describe_scene(block, scene, form.prompts)
        elif block == "notes":
            yield block, _describe_notes(snapshot, material)
        else:
            yield block, _describe_memory(block, snapshot, material)


def _describe_notes(snapshot: Snapshot, material: BlockMaterial) -> str:
    """The newest notes on the ticker that were known at the moment; empty without one."""
    settings, as_of = material.form.settings.context, snapshot.as_of
    notes = material.notes.find(snapshot.ticker, as_of - timedelta(days=settings.note_days), as_of)
    shown = [
        {
            "age": _ago(as_of - note.at),
            "kind": note.kind,
            "text": _shorten(note.text, settings.note_characters),
            "due": _due(note.due, as_of),
        }
        for note in notes[: settings.max_notes]
    ]
    return material.form.prompts.render("block_notes", notes=shown).strip() if shown else ""


def _describe_memory(block: BlockName, snapshot: Snapshot, material: BlockMaterial) -> str:
    """Earlier situations like this one, or accepted winners as examples; empty where there are none yet."""
    settings, prompts = material.form.settings.context, material.form.prompts
    if material.memory is None:
        return ""
    if block == "examples":
        replies = material.memory.find_examples(snapshot.as_of, settings.examples)
        return prompts.render("block_examples", replies=replies).strip() if replies else ""
    found = material.memory.find_situations(snapshot.vector, snapshot.as_of, settings.situations)
    return prompts.render("block_memory", situations=found).strip() if found else ""


def _ago(age: timedelta) -> str:
    """How long ago something was known, in whole days, or hours below one day."""
    if age >= timedelta(days=1):
        return "1 day ago" if age.days == 1 else f"{age.days} days ago"
    return f"{age // timedelta(hours=1)} h ago"


def _due(due: datetime | None, as_of: datetime) -> str:
    """When the announced moment comes, in calendar days of UTC; empty without one."""
    if due is None:
        return ""
    days = (pd.Timestamp(due).normalize() - pd.Timestamp(as_of).normalize()).days
    return "today" if days == 0 else f"in {days} days" if days > 0 else f"{-days} days ago"


def _shorten(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"
