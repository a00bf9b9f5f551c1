"""Settings: the file, the environment, and what is refused."""

import subprocess
import sys

import pytest

from osiris.config.settings import load_settings
from osiris.core.errors import SettingsError, WorkspaceError


def test_defaults_need_no_file(tmp_path):
    settings = load_settings(tmp_path)
    assert (settings.gate.serve, settings.data) == ("better", tmp_path / "data")


def test_the_file_overrides_defaults(tmp_path):
    (tmp_path / "osiris.toml").write_text("[gate]\nalpha = 0.1\n")
    assert load_settings(tmp_path).gate.alpha == 0.1


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[gate]\nlevl = 0.1\n", r"alpha.*unknown key gate\.levl"),
        ("[gaet]\nalpha = 0.1\n", r"gate.*unknown key gaet"),
        ("[gate]\nalpha = 2\n", r"gate\.alpha: .*less than 1; got 2"),
        ("[gate]\nlevel = 0.1\n", r"the key gate\.alpha; got gate\.level, its former name"),
        ("[model]\nbound = false\n", r"the key model\.constrained; got model\.bound, its former name"),
        ("[gate\n", "valid TOML"),
        ('[prices.calendars]\nVOD.L = "XLON"\n', 'a dot in quotes: "VOD.L" = "XLON"'),
        ('[prices.calendars]\n"vod.l" = "XLON"\n', 'in capitals: "VOD.L" = "XLON"'),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, toml, words):
    (tmp_path / "osiris.toml").write_text(toml)
    with pytest.raises(SettingsError, match=words):
        load_settings(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(WorkspaceError, match="nowhere"):
        load_settings(tmp_path / "nowhere")


def level_seen_by_a_process(folder, **variables):
    code = "from osiris.config.settings import load_settings; print(load_settings().gate.alpha)"
    environment = {"OSIRIS_WORKSPACE": str(folder), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.system
def test_the_environment_wins_over_the_file(tmp_path):
    (tmp_path / "osiris.toml").write_text("[gate]\nalpha = 0.1\n")
    assert level_seen_by_a_process(tmp_path).stdout == "0.1\n"
    assert level_seen_by_a_process(tmp_path, OSIRIS_GATE__ALPHA="0.2").stdout == "0.2\n"


@pytest.mark.system
@pytest.mark.parametrize("name", ["OSIRIS_GATES__LEVEL", "OSIRIS_GATE__LEVL"])
def test_an_unknown_variable_is_an_error(tmp_path, name):
    assert "SettingsError" in level_seen_by_a_process(tmp_path, **{name: "0.2"}).stderr


@pytest.mark.parametrize("said", ["AAPL,MSFT", " AAPL , MSFT,", '["AAPL", "MSFT"]'])
def test_a_list_in_a_variable_takes_commas(tmp_path, monkeypatch, said):
    monkeypatch.setenv("OSIRIS_ADVISE__TICKERS", said)
    assert load_settings(tmp_path).advise.tickers == ["AAPL", "MSFT"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OSIRIS_GATE__ALPHA", "high"),
        ("OSIRIS_PRICES__CALENDARS", "AAPL"),
        ("OSIRIS_GATE", "0.1"),
        ("OSIRIS_GATE__X", "1"),
    ],
)
def test_a_bad_value_names_its_variable(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings(tmp_path)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "osiris.toml").write_bytes(b"\xef\xbb\xbf[gate]\nalpha = 0.1\n")
    assert load_settings(tmp_path).gate.alpha == 0.1
