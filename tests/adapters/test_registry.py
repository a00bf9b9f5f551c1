"""The shelf of adapters: published whole or not at all, served only when sound, eligible and known at the time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from osiris.adapters.manifest import CARD_FILE, CONFIG_FILE, MANIFEST_FILE, WEIGHTS_FILE, _sha256
from osiris.adapters.registry import AdapterRegistry
from osiris.core.errors import AdapterRejected, BadInput, Conflict, NotFound
from tests.builders import adapter_card as card
from tests.builders import trained_adapter as trained

BASE = "b" * 64
NIGHT = datetime(2005, 3, 1, 22, tzinfo=UTC)
LATER = datetime(2005, 4, 1, tzinfo=UTC)


@pytest.fixture
def shelf(tmp_path):
    """Two sound adapters, the later one to be damaged."""
    shelf = AdapterRegistry(tmp_path / "adapters", lambda: BASE)
    shelf.publish("20050301", trained(tmp_path / "a"), card())
    shelf.publish("20050301-dpo", trained(tmp_path / "b", 0.25), card(parent="20050301"))
    return shelf


def resign(folder: Path) -> None:
    """Make the manifest fit the changed files, as a forger would, so that the hash alone does not catch them."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["files"] = {file: _sha256(folder / file) for file in manifest["files"]}
    manifest["tensors"] = {key: list(value.shape) for key, value in load_file(folder / WEIGHTS_FILE).items()}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def rewrite_weights(folder: Path, change) -> None:
    save_file(change(load_file(folder / WEIGHTS_FILE)), folder / WEIGHTS_FILE)


def rewrite_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip_byte(folder):
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)


def drop_half_unsigned(folder):
    rewrite_weights(folder, lambda tensors: dict(list(tensors.items())[:1]))


def drop_half(folder):
    drop_half_unsigned(folder)
    resign(folder)


def rename_keys(folder):
    rewrite_weights(folder, lambda tensors: {key.replace("lora_", "other_"): value for key, value in tensors.items()})
    resign(folder)


def wrong_rank(folder):
    rewrite_weights(folder, lambda tensors: {key: value[:8, :8].copy() for key, value in tensors.items()})
    resign(folder)


def unlisted_tensors(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    rewrite_json(folder / MANIFEST_FILE, tensors=dict(list(manifest["tensors"].items())[:1]))


def nan(folder):
    rewrite_weights(folder, lambda tensors: {key: value * np.nan for key, value in tensors.items()})
    resign(folder)


def absurd_alpha(folder):
    rewrite_json(folder / CONFIG_FILE, lora_alpha=16000)
    resign(folder)


def absurd_alpha_by_pattern(folder):
    rewrite_json(folder / CONFIG_FILE, alpha_pattern={"o_proj": 16000})
    resign(folder)


def more_than_two_matrices(folder):
    rewrite_json(folder / CONFIG_FILE, lora_bias=True, trainable_token_indices=[1], use_dora=False, loftq_config={})
    resign(folder)


def a_start_that_rewrites_the_base(folder):
    rewrite_json(folder / CONFIG_FILE, init_lora_weights="pissa_niter_4")
    resign(folder)


def other_base(folder):
    rewrite_json(folder / CARD_FILE, base_hash="c" * 64)
    resign(folder)
    rewrite_json(folder / MANIFEST_FILE, base_hash="c" * 64)


def linked_weights(folder):
    (folder / WEIGHTS_FILE).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS_FILE).symlink_to(folder.parent / "elsewhere")


def linked_folder(folder):
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


def pickle_beside(folder):
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04N.")


def pickle_instead(folder):
    (folder / WEIGHTS_FILE).write_bytes(b"\x80\x04N.")
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    rewrite_json(folder / MANIFEST_FILE, files=manifest["files"] | {WEIGHTS_FILE: _sha256(folder / WEIGHTS_FILE)})


def truncated(folder):
    (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-64])


def no_card(folder):
    (folder / CARD_FILE).unlink()


def no_manifest(folder):
    (folder / MANIFEST_FILE).unlink()


def garbage_manifest(folder):
    (folder / MANIFEST_FILE).write_text("[1")


def another_name(folder):
    rewrite_json(folder / MANIFEST_FILE, name="20050228")


DAMAGES = {
    flip_byte: "sha256",
    drop_half_unsigned: "sha256",
    drop_half: "pairs lora_A",
    rename_keys: "pairs lora_A",
    wrong_rank: "pairs lora_A",
    unlisted_tensors: "tensors of the manifest",
    nan: "finite",
    absurd_alpha: "alpha/r",
    absurd_alpha_by_pattern: "further parts: alpha_pattern",
    more_than_two_matrices: "further parts: lora_bias, trainable_token_indices",
    a_start_that_rewrites_the_base: "leaves its base",
    other_base: "base weights",
    linked_weights: "regular files",
    linked_folder: "a folder",
    pickle_beside: "no other files",
    pickle_instead: "safetensors",
    truncated: "sha256",
    no_card: "all files",
    no_manifest: "all files",
    garbage_manifest: "readable manifest.json",
    another_name: "a manifest for",
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_adapter_is_rejected_and_the_last_good_one_served(shelf, damage, reason):
    damage(shelf.folder / "20050301-dpo")
    with pytest.raises(AdapterRejected, match=reason):
        shelf.validate("20050301-dpo")
    served = shelf.find_served("newest", LATER)
    assert served.name == "20050301"
    assert [name for name, _ in served.skipped] == ["20050301-dpo"]
    assert reason in served.skipped[0][1]


def test_a_sound_adapter_is_served_with_its_card_and_dpo_comes_first(shelf):
    assert shelf.names() == ["20050301-dpo", "20050301"]
    assert shelf.newest() == "20050301-dpo"
    served = shelf.find_served("newest", LATER)
    assert (served.name, served.path, served.skipped) == ("20050301-dpo", shelf.folder / "20050301-dpo", ())
    assert shelf.validate("20050301-dpo").parent == "20050301"
    assert sorted(path.name for path in served.path.iterdir()) == sorted(
        [CARD_FILE, CONFIG_FILE, MANIFEST_FILE, WEIGHTS_FILE]
    )


def test_an_empty_shelf_serves_the_base(tmp_path):
    shelf = AdapterRegistry(tmp_path / "none", lambda: BASE)
    assert (shelf.names(), shelf.newest(), shelf.find_served("better", LATER).name) == ([], None, None)


def test_a_historical_clock_does_not_see_later_adapters(shelf):
    assert shelf.find_served("newest", datetime(2005, 2, 28, 23, tzinfo=UTC)).name is None
    assert shelf.find_served("newest", datetime(2005, 3, 1, 21, tzinfo=UTC)).name is None, "made an hour later that day"
    assert shelf.find_served("newest", NIGHT).name == "20050301-dpo"
    assert shelf.newest(datetime(2005, 2, 28, tzinfo=UTC)) is None


def test_only_promoted_adapters_are_served_unless_the_policy_is_newest(shelf):
    assert shelf.find_served("better", LATER).name is None
    shelf.record_verdict("20050301", {"promoted": True, "p": 0.01})
    shelf.record_verdict("20050301-dpo", {"promoted": False, "p": 0.6})
    served = shelf.find_served("better", LATER)
    assert served.name == "20050301"
    assert served.skipped == (("20050301-dpo", "the gate did not promote it"),)
    assert shelf.eligible_names("better") == ["20050301"]
    assert shelf.find_served("newest", LATER).name == "20050301-dpo"
    assert shelf.verdict("20050301") == {"promoted": True, "p": 0.01}


def test_a_person_overrules_the_gate_and_leaves_a_name_and_a_reason(shelf):
    shelf.record_verdict("20050301-dpo", {"promoted": False, "p": 0.6})
    shelf.promote("20050301-dpo", "ada", "small sample", LATER)
    assert shelf.find_served("better", LATER).name == "20050301-dpo"
    shelf.demote("20050301-dpo", "ada", "shorts only", LATER)
    assert shelf.find_served("newest", LATER).skipped == (("20050301-dpo", "demoted by ada: shorts only"),)
    assert shelf.verdict("20050301-dpo")["p"] == 0.6


def test_a_pin_goes_first_and_a_damaged_pin_falls_back(shelf):
    shelf.pin("20050301")
    assert shelf.find_served("better", LATER).name == "20050301"
    flip_byte(shelf.folder / "20050301")
    assert shelf.find_served("newest", LATER).name == "20050301-dpo"
    shelf.unpin()
    assert shelf.pinned() is None
    with pytest.raises(AdapterRejected):
        shelf.pin("20050301")


def test_a_name_is_never_used_again(shelf, tmp_path):
    before = shelf.validate("20050301")
    with pytest.raises(Conflict, match="20050301"):
        shelf.publish("20050301", trained(tmp_path / "c", 0.75), card())
    assert shelf.validate("20050301") == before


@pytest.mark.parametrize("name", ["latest", "2005030", "20051301", "20050301-sft", "../20050301", "20050301-dpo\n"])
def test_other_names_are_refused(shelf, tmp_path, name):
    with pytest.raises(BadInput):
        shelf.publish(name, trained(tmp_path / "c"), card())
    with pytest.raises(BadInput):
        shelf.validate(name)


def test_an_unsound_adapter_is_not_published_and_leaves_nothing(shelf, tmp_path):
    with pytest.raises(AdapterRejected, match="finite"):
        shelf.publish("20050302", trained(tmp_path / "c", np.nan), card())
    with pytest.raises(BadInput, match="data_hash"):
        shelf.publish("20050302", trained(tmp_path / "d"), {"parent": None})
    assert shelf.names() == ["20050301-dpo", "20050301"]
    assert not list(shelf.folder.glob(".tmp-*"))
    with pytest.raises(NotFound):
        shelf.path("20050302")


def test_the_probe_is_asked_once_and_its_no_is_remembered(shelf):
    asked = []

    def probe(path):
        asked.append(path.name)
        if path.name == "20050301-dpo":
            raise AdapterRejected("a finite forward pass", "NaN", "train anew")

    for _ in range(2):
        served = shelf.find_served("newest", LATER, probe)
        assert (served.name, asked) == ("20050301", ["20050301-dpo", "20050301"])
        assert "NaN" in served.skipped[0][1]


PUBLISHER = """
import itertools, sys
from pathlib import Path
from datetime import UTC, datetime
from osiris.adapters.registry import AdapterRegistry
shelf = AdapterRegistry(Path(sys.argv[1]), lambda: "b" * 64)
card = {"parent": None, "data_hash": "d", "recipe": "x", "recipe_hash": "r", "as_of": datetime(2005, 3, 1, tzinfo=UTC)}
for day in itertools.count(int(sys.argv[3])):
    shelf.publish(f"2{day:03d}0101", Path(sys.argv[2]), card)
    print("one is out", flush=True)
"""


@pytest.mark.system
def test_a_kill_during_publishing_never_leaves_a_visible_half_adapter(tmp_path, kills):
    source = trained(tmp_path / "source")
    shelf = AdapterRegistry(tmp_path / "adapters", lambda: BASE)
    drafts = 0
    for attempt in range(kills):
        first = 1 + len(shelf.names())
        arguments = [sys.executable, "-c", PUBLISHER, str(shelf.folder), str(source), str(first)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(0.002 + 0.04 * attempt / kills)
            os.kill(process.pid, signal.SIGKILL)
        drafts += len(list(shelf.folder.glob(".tmp-*")))
        assert process.wait() == -signal.SIGKILL
    assert drafts, "no kill fell inside a publication: the test shows nothing"
    assert shelf.names()
    for name in shelf.names():
        shelf.validate(name)
    shelf.publish("29990101", source, card())
    assert not list(shelf.folder.glob(".tmp-*"))


def test_an_adapter_whose_training_failed_is_kept_and_never_served(tmp_path, shelf):
    shelf.publish("20050302-dpo", trained(tmp_path / "c", 0.1), card(failed="valid replies fell to 12.0%"))
    served = shelf.find_served("newest", LATER)
    assert served.name == "20050301-dpo"
    assert "valid replies fell to 12.0%" in dict(served.skipped)["20050302-dpo"]
    for word in (
        lambda: shelf.promote("20050302-dpo", "ann", "but I like it", LATER),
        lambda: shelf.pin("20050302-dpo"),
    ):
        with pytest.raises(AdapterRejected, match="a training that did not fail"):
            word()
    assert shelf.names()[0] == "20050302-dpo"


# -- what was decided outlives what comes later -----------------------------------------------------------------------

GATE = {"promoted": True, "p": 0.01}


@pytest.mark.parametrize("gate_first", [True, False])
@pytest.mark.parametrize("word", ["promote", "demote"])
def test_a_persons_word_outlives_the_gates_whichever_comes_first(shelf, gate_first, word):
    name, verdict = "20050301-dpo", {"promoted": word == "demote", "p": 0.01}
    if gate_first:
        shelf.record_verdict(name, verdict)
    getattr(shelf, word)(name, "ann", "her reasons", LATER)
    for p in (0.02, 0.03):
        shelf.record_verdict(name, verdict | {"p": p})
    kept = shelf.verdict(name)
    assert (kept["by"], kept["why"], kept["promoted"]) == ("ann", "her reasons", word == "promote")
    assert (kept["gate_promoted"], kept["p"]) == (word == "demote", 0.03)
    served = shelf.find_served("better", LATER).name
    assert served == ("20050301-dpo" if word == "promote" else None)


def test_of_two_words_of_people_the_later_stands_and_the_gates_is_still_told(shelf):
    shelf.record_verdict("20050301", GATE)
    shelf.demote("20050301", "ann", "shorts only", LATER)
    shelf.promote("20050301", "bob", "looked again", LATER)
    kept = shelf.verdict("20050301")
    assert (kept["by"], kept["promoted"], kept["gate_promoted"]) == ("bob", True, True)


def test_a_pin_outlives_a_verdict_and_a_newer_adapter(shelf, tmp_path):
    shelf.pin("20050301")
    shelf.record_verdict("20050301", {"promoted": False})
    shelf.publish("20050302", trained(tmp_path / "c", 0.75), card())
    assert shelf.find_served("newest", LATER).name == "20050301"


@pytest.mark.parametrize("kind", ["file", "dangling link", "link to a file"])
def test_what_is_no_folder_is_passed_over_and_named(shelf, kind):
    odd = shelf.folder / "20050305"
    odd.write_text("x") if kind == "file" else odd.symlink_to("nowhere" if kind == "dangling link" else __file__)
    served = shelf.find_served("newest", LATER)
    assert (served.name, [name for name, _ in served.skipped]) == ("20050301-dpo", ["20050305"])
    with pytest.raises(AdapterRejected, match="a folder in adapter 20050305"):
        shelf.validate("20050305")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', "{}", '{"promoted": "yes"}', '{"promoted": true, "held_out": ["x"]}', "[" * 5000]
)
def test_an_adapter_whose_verdict_cannot_be_read_is_not_served_and_stops_no_other(shelf, text):
    shelf.demote("20050301-dpo", "ann", "nonsense", LATER)
    file = shelf.folder / ".verdicts" / "20050301-dpo.json"
    file.write_text(text)
    served = shelf.find_served("newest", LATER)
    assert served.name == "20050301"
    assert str(file) in served.skipped[0][1]
    with pytest.raises(BadInput, match=r"20050301-dpo\.json.*delete it and decide anew"):
        shelf.verdict("20050301-dpo")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "null"])
def test_a_pin_that_cannot_be_read_is_an_error_until_somebody_says_whom_to_serve(shelf, text):
    (shelf.folder / ".pin.json").write_text(text)
    with pytest.raises(BadInput, match="osiris adapters unpin"):
        shelf.find_served("newest", LATER)
    shelf.pin("20050301")
    assert shelf.find_served("newest", LATER).name == "20050301"


def test_a_pinned_adapter_that_is_gone_is_named(shelf):
    shelf.pin("20050301")
    shutil.rmtree(shelf.folder / "20050301")
    served = shelf.find_served("newest", LATER)
    assert (served.name, served.skipped[0][0]) == ("20050301-dpo", "20050301")


def test_an_answer_of_the_probe_that_cannot_be_read_is_asked_for_anew(shelf):
    (shelf.folder / ".verdicts").mkdir()
    (shelf.folder / ".verdicts" / "20050301-dpo.probe.json").write_text("[]")
    asked = []
    shelf.find_served("newest", LATER, lambda path: asked.append(path.name))
    assert asked == ["20050301-dpo"]
