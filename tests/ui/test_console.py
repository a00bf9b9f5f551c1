"""Reports on a terminal of 80 columns: whole cells, and nothing hidden."""

import pytest

from osiris.ui.console import print_report, print_rows, to_printable

ADAPTER = {
    "adapter": "20050607-dpo",
    "served": True,
    "kind": "dpo",
    "parent": "20050412-dpo",
    "rows": 64,
    "heldout_mean_r": -0.110107,
    "heldout_win_rate": None,
    "verdict": "not shown to be better: -0.034 R a prompt, p = 0.814, level 0.05",
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys):
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_a_wide_table_keeps_its_cells_whole_and_puts_long_texts_beneath(capsys):
    print_rows([ADAPTER, ADAPTER | {"adapter": "20050607", "served": False}], "Adapters")
    text = printed(capsys)
    assert "…" not in text
    assert "20050607-dpo    yes dpo  20050412-dpo   64 -0.110107" in text
    assert f"20050607-dpo  {ADAPTER['verdict']}" in text
    assert f"20050607      {ADAPTER['verdict']}" in text


def test_the_words_of_a_header_are_whole(capsys):
    print_rows([ADAPTER], "Adapters")
    words = set(" ".join(ADAPTER).replace("_", " ").split()) - {"verdict"}
    assert words <= set(printed(capsys).split())


def test_moments_are_cut_to_the_minute_and_large_numbers_to_millions(capsys):
    print_rows([{"start": "2013-02-15T14:30:00Z", "close": 460.16, "volume": 13990900.0}], "Bars")
    assert "2013-02-15 14:30 460.16 13.99M" in printed(capsys)


def test_what_a_model_wrote_is_no_markup(capsys):
    print_rows([{"rationale": "[red]buy[/red]"}], "Ideas")
    print_report({"rationale": "[bold]now"}, "One")
    text = printed(capsys)
    assert "[red]buy[/red]" in text
    assert "[bold]now" in text


def test_no_rows_say_so(capsys):
    print_rows([], "Adapters")
    assert "nothing yet" in printed(capsys)


def test_a_report_names_nested_values_and_counts_long_lists(capsys):
    print_report({"status": {"pending": 3}, "ids": list(range(9)), "served": None}, "Status")
    words = printed(capsys).split()
    assert [words[words.index(name) + 2] for name in ("status.pending", "ids", "served")] == ["3", "9", "-"]


@pytest.mark.parametrize("text", ["\x1b[31mroot", "a\x07", "\x9b2J", "a\u202eb", "a\rb", "a\u2028b"])
def test_nothing_that_a_terminal_obeys_is_printed(capsys, text):
    assert to_printable(text) != text
    assert to_printable(text).isprintable()
    print_rows([{text: text, "idea": 1}], text)
    print_report({text: {text: [text]}}, text)
    print_rows([], text)
    out = capsys.readouterr().out
    assert not set(text) & set(out) - set("[31mrootab2J")


def test_what_a_terminal_shows_stays():
    assert to_printable("René 株 🙂\n\tR\u00a0=\u00a02") == "René 株 🙂\n\tR\u00a0=\u00a02"
