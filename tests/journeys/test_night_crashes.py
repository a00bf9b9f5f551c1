"""Kill -9 of a night wherever something becomes visible: run again, it ends as a night that nobody killed."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest

from osiris.config.settings import PROJECT_ROOT, load_settings
from osiris.core.commands import Feedback
from osiris.drafting.draft_ideas import DraftingContext, draft_ideas
from osiris.learn_check.trial import Trial, TrialPlan, draft_and_settle, prepare_trial
from osiris.review.decide import decide
from osiris.workspace import open_workspace

TRIAL = Trial("momentum", 0, TrialPlan(nights=1, tickers=16, moments=2, fresh_moments=1, candidates=4))
LOGGED = ("name", "kind", "version", "data_hash", "verdict", "params")
RECIPE = {"num_train_epochs: 8": "num_train_epochs: 1"}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A workspace on the evening before its first night, with settled ideas of which some were approved; the night."""
    folder = tmp_path_factory.mktemp("nights") / "before"
    folder.mkdir()
    workspace = prepare_trial(TRIAL, folder, load_settings(folder).model.cache.expanduser())
    moments = TRIAL.market.draft_moments[:2]
    workspace.clock.set(moments[-1])
    drafter, settings = workspace.load_drafter(), workspace.settings
    context = DraftingContext(workspace.advice, workspace.prices, workspace.events, workspace.policy, settings)
    draft_ideas(context, drafter, None, moments)
    moment = TRIAL.market.draft_moments[0] + timedelta(hours=1)
    for row in workspace.advice.rows()[:12]:
        body = Feedback(
            transaction_id=row["id"], feedback_type="approval", feedback_content={"reviewer": "ann"}, timestamp=moment
        )
        decide(workspace.advice, body, row["id"], settings, moment)
    _, night = draft_and_settle(workspace, TRIAL, moments)
    workspace.close()
    for name in ("dpo", "qlora"):
        text = (PROJECT_ROOT / "recipes" / f"{name}.yaml").read_text()
        for old, new in RECIPE.items():
            text = text.replace(old, new)
        (folder / f"{name}.yaml").write_text(text)
    return folder, night


def nights(before, name, seed):
    """The attempts of a night on a copy of the workspace, and what it left."""
    folder, night = before
    copy = folder.with_name(name)
    shutil.copytree(folder, copy)
    toml = (copy / "osiris.toml").read_text()
    keys = f'sft_recipe = "{copy}/qlora.yaml"\ndpo_recipe = "{copy}/dpo.yaml"\nmin_valid_share = 0.5\nmin_pairs = 1\n'
    toml = toml.replace("holdout_days = 415", "holdout_days = 30")  # of two moments the first is learned from
    (copy / "osiris.toml").write_text(toml.replace('dpo_recipe = "dpo"\n', keys))
    asked = [sys.executable, "-m", "tests.journeys.nightly_worker", str(copy), night.isoformat(), str(seed)]
    ran = subprocess.run(asked, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()], left(copy, night)


def left(folder, night):
    """What a night left: adapters and their weights, datasets, verdicts, and MLflow's runs."""
    workspace = open_workspace(folder, night)
    shelf = workspace.registry
    names = sorted(shelf.names())
    found = {
        "weights": {name: shelf.weights_hash(name) for name in names},
        "verdicts": {name: shelf.verdict(name) for name in names},
        "datasets": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((folder / "data" / "datasets").glob("*.jsonl"))
        },
        "runs": [{key: row[key] for key in LOGGED} for row in workspace.tracking.adapters()],
        "aliases": workspace.tracking.aliases(),
        "half": sorted(path.name for path in folder.rglob(".tmp-*")),
    }
    for name in names:
        shelf.validate(name)
    workspace.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(before):
    (attempt,), found = nights(before, "undisturbed", 0)
    assert attempt["over"]
    return found


def test_a_night_that_was_killed_is_finished_by_running_it_again(before, undisturbed):
    attempts, found = nights(before, "killed", seed=1)
    print(f"{len(attempts) - 1} kills, at {[one['point'] for one in attempts]}")
    assert len(attempts) > 5
    assert found == undisturbed
    assert len(found["weights"]) == 2
    assert found["half"] == []
