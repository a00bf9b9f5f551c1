"""What stands beside an idea follows the cursor, however quickly that moves."""

import asyncio

from osiris.ui.idea_details import IdeaDetails
from tests.builders import idea

NOTHING_BESIDE = {"bars": None, "siblings": [], "earlier": [], "similar": []}


def as_sent(ticker):
    row = idea(ticker=ticker)
    return row | {"as_of": row["as_of"].isoformat()}


def followed(*acts):
    """The titles that a dossier had while `acts` were done on a loop, all before the first picture is ready."""
    dossier, titles = IdeaDetails(), []
    dossier.observe(lambda change: titles.append(change["new"].split(" ")[0]), "title")

    async def on():
        for act in acts:
            act(dossier)
        for _ in range(300):
            await asyncio.sleep(0.1)
            if titles:
                break
        await asyncio.sleep(0.5)

    asyncio.run(on())
    return titles


def test_of_several_asked_for_the_last_one_is_shown():
    first, last = as_sent("AAPL"), as_sent("IBM")
    assert followed(
        lambda dossier: dossier.show_idea(first, lambda _: NOTHING_BESIDE, False),
        lambda dossier: dossier.show_idea(last, lambda _: NOTHING_BESIDE, False),
    ) == ["IBM"]


def test_what_cannot_be_drawn_says_so():
    def broken(_):
        raise ValueError("no such column")

    assert followed(lambda dossier: dossier.show_idea(as_sent("AAPL"), broken, False)) == ["AAPL:"]
