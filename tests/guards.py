"""Remove each guard of the outcome logger and the review desk in turn and show that its test fails.

`python -m tests.guards [NAME ...]` works on a copy of the tree. A guard whose test still passes is reported, and the
exit status is 1. Not a test itself: it takes some minutes, most of them imports.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from osiris.config.settings import HOUSE


class Guard(NamedTuple):
    """What is guarded, where, the code that guards it, the code without, and the tests that must then fail."""

    name: str
    file: str
    guard: str
    without: str
    tests: str


TOUCH, LINE, JUDGE = "osiris/labeling/triple_barrier.py", "osiris/market/timeline.py", "osiris/labeling/label.py"
LOGGER, PRICES, YAHOO = "osiris/labeling/settle.py", "osiris/market/provider.py", "osiris/market/yahoo.py"
ADVICE, EVENTS, BARS, MERGE = (
    "osiris/storage/advice.py",
    "osiris/storage/events.py",
    "osiris/market/bar_store.py",
    "osiris/market/reconcile.py",
)
CLAIMS, FEED = "osiris/labeling/arrays.py", "osiris/market/backfill.py"
LAYERS, JUMPS, DISK = "osiris/market/resolutions.py", "osiris/market/bar_jumps.py", "osiris/market/bar_disk.py"
TEST_PIECES = "tests/market/test_bar_pieces.py"
TEST_SHAPES = "tests/labeling/test_label_file_shapes.py"
TEST_JUMPS, TEST_GAPS, TEST_DISK = (
    "tests/market/test_bar_jumps.py",
    "tests/market/test_gaps.py",
    "tests/market/test_bar_disk.py",
)
TEST_TOUCH, TEST_PATHS = (
    "tests/labeling/test_triple_barrier.py",
    "tests/labeling/test_triple_barrier_properties.py --cases 5000",
)
TEST_LINE, TEST_JUDGE = "tests/market/test_timeline.py", "tests/labeling/test_label.py"
TEST_LOGGER = "tests/labeling/test_settle.py"
TEST_PRICES, TEST_YAHOO, TEST_EVENTS = (
    "tests/market/test_provider.py",
    "tests/market/test_yahoo.py",
    "tests/storage/test_events.py",
)

RULES, TABLES, GROUPED = (f"osiris/storage/{name}.py" for name in ("rules", "tables", "group_commit"))
TAB, PAGE, CLIENT, TABLE_JS = (
    f"osiris/ui/{n}" for n in ("advisory.py", "pinned_page.py", "api_client.py", "review_table.js")
)
TEST_API, TEST_TAB, TEST_DESK = "tests/api/test_ideas.py", "tests/ui/test_advisory.py", "tests/browser/test_desk.py"
TEST_ADVICE, TEST_WORTH = "tests/storage/test_advice.py", "tests/evaluation/test_review_value.py"
LISTING, WORTH = "osiris/review/queries.py", "osiris/evaluation/review_value.py"

GUARDS = [
    Guard("a finished reply ends", "osiris/llm/grammar.py", "mask[:] = self._end", "mask[:] = -1", "tests/llm/test_grammar.py"),
    Guard("few blocks test nothing", "osiris/evaluation/stats.py", "if blocks < MIN_BLOCKS:", "if blocks < 2:", "tests/evaluation/test_stats.py"),
    Guard("both tests must agree", "osiris/evaluation/stats.py", "max(_p_value(mean, *part) for part in parts)", "min(_p_value(mean, *part) for part in parts)", "tests/evaluation/test_stats.py"),
    Guard("a block has days, not sessions", "osiris/evaluation/stats.py", "gaps = np.minimum(np.diff(days), length)", "gaps = np.ones(len(days) - 1)", "tests/evaluation/test_stats.py"),
    Guard("long trades tie more days", "osiris/evaluation/stats.py", "(durations**2).mean() / durations.mean()", "durations.mean()", "tests/evaluation/test_stats.py"),
    Guard("a decision that lasts", "osiris/evaluation/stats.py", "        total += 2 * correlation\n", "", "tests/evaluation/test_stats.py"),
    Guard("what could have been shown", "osiris/evaluation/stats.py", "nct.sf(critical, freedom, shift) - power", "nct.sf(critical, freedom, shift) - 0.5", "tests/evaluation/test_stats.py"),
    Guard("earlier decisions alone", "osiris/evaluation/side_bias.py", "np.linspace(0, place - 1, min(place, EARLIER))", "np.linspace(0, place, min(place + 1, EARLIER))", "tests/evaluation/test_side_bias.py"),
    Guard("habits are a ticker's own", "osiris/evaluation/side_bias.py", 'decided.rename(columns={"as_of": "from"}), on=["ticker", "from"]', 'decided.rename(columns={"as_of": "from"}).drop(columns="ticker"), on=["from"]', "tests/evaluation/test_side_bias.py"),
    Guard("levels above zero", "osiris/evaluation/side_bias.py", 'moved[(moved["target"] > 0) & (moved["stop"] > 0)]', "moved", "tests/evaluation/test_side_bias.py"),
    Guard("skill is less the habit", "osiris/evaluation/evidence.py", '"skill": (mine["r"] - mine["habit"]) - (theirs["r"] - theirs["habit"])', '"skill": mine["r"] - theirs["r"]', "tests/evaluation/test_gate.py"),
    Guard("blocks are longer than trades", "osiris/evaluation/evidence.py", "length = LENGTHS * max(overlap_days(lasts)", "length = 0.5 * max(1.0", "tests/evaluation/test_gate.py"),
    Guard("what both traded", "osiris/evaluation/evidence.py", "both = mine.index.intersection(theirs.index)", "both = mine.index", "tests/evaluation/test_gate.py"),
    Guard("the wait for an entry is no trade", "osiris/evaluation/heldout.py", "ends[np.maximum(touches.entered - 1, 0)], since)", "since, since)", "tests/evaluation/test_heldout.py"),
    Guard("held out after the embargo", "osiris/evaluation/heldout.py", "+ timedelta(days=settings.gate.embargo_days)", "", "tests/evaluation/test_heldout.py"),
    Guard("skill that costs money", "osiris/evaluation/gate.py", " and evidence.difference > 0", "", "tests/evaluation/test_gate.py"),
    Guard("a corrected price has its turn", "osiris/storage/advice.py", '            changes |= {"open_reason": None} if first else {}  # it is the new price\'s turn\n', "", "tests/labeling/test_settle.py -k corrected"),
    Guard("a price is corrected once it did not trade", "osiris/storage/rules.py", 'if asked and idea["open_reason"] != ODD_PRICE:', "if False:", "tests/labeling/test_settle.py -k corrected"),
    Guard("a walk fits its calendar", "osiris/learn_check/no_skill.py", "if len(found) < count:", "if False:", "tests/learn_check/test_no_skill.py -k fit"),
    Guard("a trial ends", "osiris/evaluation/gate.py", "promoted or is_over, reason", "promoted, reason", "tests/evaluation/test_gate.py"),
    Guard("a trial lasts", "osiris/evaluation/gate.py", "promoted or is_over, reason", "True, reason", "tests/evaluation/test_gate.py"),
    Guard("trades enough", "osiris/evaluation/gate.py", "evidence.test.suffices and trades >= settings.gate.min_trades", "evidence.test.suffices", "tests/evaluation/test_gate.py"),
    Guard("a later look has a stricter level", "osiris/evaluation/looks.py", "return level / (look * (look + 1))", "return level / 2", "tests/evaluation/test_looks.py tests/evaluation/test_gate.py"),
    Guard("looks are kept", "osiris/evaluation/looks.py", '            self._journal.append("looked", [row])\n', "", "tests/evaluation/test_looks.py"),
    Guard("the same look is the same", "osiris/evaluation/looks.py", '                if row["key"] == key:\n                    return row["look"]\n', "                pass\n", "tests/evaluation/test_looks.py tests/training/test_promotion.py"),
    Guard("looks at much the same days", "osiris/evaluation/looks.py", "and 2 * shared >= min(self.last", "and self == other and shared >= min(self.last", "tests/evaluation/test_looks.py"),
    Guard("another look is due later", "osiris/training/promotion.py", "if due is not None and span.last < due and not ledger.knows(key):", "if False:", "tests/training/test_promotion.py"),
    Guard("too little evidence is no look", "osiris/training/promotion.py", "if not can_be_tested(evidence, challenger, champion, settings):", "if False:", "tests/training/test_promotion.py"),
    Guard("one challenger at a time", "osiris/training/promotion.py", "return sorted(open_ones, key=lambda name: verdicts[name] is None)", "return open_ones", "tests/training/test_promotion.py"),
    Guard("whom a person spoke on", "osiris/training/promotion.py", '(bool(verdict.get("by")) or verdict.get("decided", True))', 'verdict.get("decided", True)', "tests/training/test_promotion.py"),
    Guard("a number ends", "osiris/llm/grammar.py", 'value["multipleOf"] = FINEST', "pass", "tests/llm/test_grammar.py"),
    Guard("replies are bound", "osiris/llm/write.py", "if settings.model.bound:", "if False:", "tests/llm/test_grammar.py"),
    Guard("MLflow's database is whole or not there", "osiris/adapters/mlflow_store.py", "draft = database.with_name(f\".{database.name}.{os.getpid()}\")", "draft = database", "tests/journeys/test_night_crashes.py"),
    Guard("the form of a trained model is seen unbound", "osiris/training/behaviour.py", "free = unbound(settings)", "free = settings", "tests/training/test_behaviour.py"),
    Guard("a reply that is no trade is not valid", "osiris/llm/generate.py", "if has_levels(reply, *self.market) else None", "", "tests/llm/test_generate.py -k trade"),
    Guard("an idea is gated by its own features", "osiris/drafting/snapshot.py", "return prompt_id(self.prompt, self.as_of)", "return self.prompt", "tests/drafting/test_draft_ideas.py -k one_text"),
    Guard("an answer begins where the template puts it", "osiris/llm/chat.py", "return before if before.startswith(begun) and before[len(begun) :].strip() else begun", "return begun", "tests/llm/test_chat.py"),
    Guard("no answer within a thought", "osiris/llm/chat.py", "if not before.startswith(start.rstrip()):", "if False:", "tests/llm/test_chat.py"),
    Guard("a recipe's adapter is plain LoRA", "osiris/training/recipe.py", "if key not in Lora.model_fields:", "if False:", "tests/training/test_recipe.py"),
    Guard("a recipe's key stands once", "osiris/training/recipe.py", "if str(key.value) in seen and", "if False and", "tests/training/test_recipe.py"),
    Guard("an adapter is plain LoRA", "osiris/adapters/manifest.py", 'if kind != "LORA" or further:', "if False:", "tests/adapters/test_registry.py"),
    Guard("an adapter leaves its base", "osiris/adapters/manifest.py", "if start is not False and start not in STARTS:", "if False:", "tests/adapters/test_registry.py"),
    Guard("a number stands by itself", "osiris/llm/numbers.py", r"(?![\w%]|\W*[0-9]|\s*(?:to|or|and|out of)\s*[0-9])", "", "tests/llm/test_numbers.py"),
    Guard("a number that was cut off is none", "osiris/llm/numbers.py", "if written.cut and not written.text[found.end() :].strip():", "if False:", "tests/llm/test_numbers.py"),
    Guard("a model is not asked beyond its positions", "osiris/llm/loader.py", "min(tokenizer.model_max_length, _positions(place(name, kind, settings)))", "tokenizer.model_max_length", "tests/llm/test_hermes.py -k positions"),
    Guard("trained as drafted", "osiris/training/tokens.py", "if whole[: len(begun)] != begun:", "if False:", "tests/training/test_run.py -k merges"),
    Guard("means over rows", "osiris/training/measures.py", "row[-length - 1 : -1]", "row[-length:]", "tests/training/test_measures.py"),
    Guard("a target that no layer has", "osiris/training/targets.py", "    if lacking:\n", "    if False:\n", "tests/training/test_architectures.py -k named"),
    Guard("a training that changes nothing leaves nothing", "osiris/training/run.py", "if not any(changes):", "if False:", "tests/training/test_run.py -k nothing"),
    Guard("a weak base is not held against its adapter", "osiris/training/behaviour.py", "    if kept:\n        least", "    if False:\n        least", "tests/training/test_behaviour.py -k weak"),
    Guard("a server ends with its last user", "osiris/storage/redis_server.py", "server_lifetime.keep(client.pid, users, Path(client.redis_dir))", "pass", "tests/core/test_server_lifetime.py"),
    Guard("a server is left to whoever shares it", "osiris/core/server_lifetime.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB", "tests/core/test_server_lifetime.py"),
    Guard("Prefect's server ends with us", "flows/server.py", "self._share = end_with_us(process.pid)", "pass", "tests/flows/test_server.py"),
    Guard("no number is null in JSON", "osiris/ui/console.py", "if math.isfinite(report) else None", "", "tests/cli/test_json.py -k number"),
    Guard("stdout is the answer's alone", "osiris/cli/common.py", "os.dup2(2, 1)", "pass", "tests/cli/test_json.py -k libraries"),
    Guard("a run has notes of its own", "osiris/market/backfill.py", "before, self.notes = self.notes, []", "before = self.notes", "tests/market/test_provider.py -k put_right"),
    Guard("an approval adjusts nothing", "osiris/review/decide.py", '    if said not in (None, idea["confidence"]):', "    if False:", "tests/review/test_decide.py"),
    Guard("the rejected side as drafted", "osiris/training/lineage.py", 'ideas["bad"] = _as_drafted(advice, ideas["bad"])', "pass", "tests/training/test_lineage.py"),
    Guard("a terminal obeys no text", "osiris/ui/console.py", "one.encode(\"unicode_escape\").decode() if unicodedata", "one if unicodedata", "tests/ui/test_console.py"),
    Guard("a name has no control characters", "osiris/core/ideas.py", " or any(unicodedata.category(one) in UNSEEN for one in name)", "", "tests/api/test_ideas.py -k name"),
    Guard("a key stands once", "osiris/api/middleware.py", "                raise _Twice(name)", "                pass", "tests/api/test_ideas.py -k twice"),
    Guard("a body of another kind", "osiris/api/middleware.py", 'if body and kind != "application/json":', "if False:", "tests/api/test_ideas.py -k kind"),
    Guard("no parameter is ignored", "osiris/api/errors.py", "    if unknown:", "    if False:", "tests/api/test_ideas.py -k query"),
    Guard("200 says that it stands", "osiris/api/ideas.py", 'if key is None and row["status"] != asked:', "if False:", "tests/api/test_ideas.py -k repeat"),
    Guard("a list takes commas", "osiris/config/settings.py", "if is_list and not isinstance(decoded, list):", "if False:", "tests/config/test_settings.py"),
    Guard("a run that was left unfinished is replaced", "osiris/adapters/mlflow_runs.py", "            if run.info.status in WHOLE:\n", "            if True:\n", "tests/adapters/test_mlflow_runs.py"),
    Guard("what candidates share is read once", "osiris/llm/hermes.py", "if len(begun) < len(rows) and all(begun):", "if False:", "tests/llm/test_hermes.py"),
    Guard("the served adapter answers", "osiris/api/models.py", "else workspace.drafter()", "else workspace.models.serve(None)", "tests/api/test_models.py"),
    Guard("an adapter has the server's name", "osiris/llm/remote.py", "        if adapter is not None:\n            model =", "        if False:\n            model =", "tests/llm/test_remote.py"),
    Guard("no second process in the box", "osiris/sandbox/bubblewrap.py", 'rules.add_rule(seccomp.ERRNO(1), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))', "pass", "tests/sandbox/test_session.py -k threads_makes"),
    Guard("no socket in the box", "osiris/sandbox/bubblewrap.py", '"socket", "socketpair", ', "", "tests/sandbox/test_session.py -k socket"),
    Guard("no secrets in the box", "osiris/sandbox/bubblewrap.py", "env={}, cwd", "cwd", "tests/sandbox/test_session.py -k secrets"),
    Guard("memory in the box is limited", "osiris/sandbox/runner.py", "        (resource.RLIMIT_AS, memory),\n        (resource.RLIMIT_DATA, memory),\n", "", "tests/sandbox/test_session.py -k allocation"),
    Guard("an answer in time", "osiris/sandbox/session.py", "read_line(process, patience, MOST_HELD)", "read_line(process, 3600, MOST_HELD)", "tests/sandbox/test_session.py -k endless --timeout 20"),
    Guard("a size within the limit", "osiris/policy/contracts.py", "if not 0 <= size <= MAX_RISK:", "if False:", "tests/policy tests/sandbox/test_session.py"),
    Guard("names off the list", "osiris/sandbox/static_uses.py", "yield f\"the name {name}: it is neither", "yield from () and f\"{name}", "tests/sandbox/test_static.py"),
    Guard("fields that other objects have", "osiris/sandbox/static.py", "if name in allowed.TAKEN or", "if", "tests/sandbox/test_static.py -k way"),
    Guard("what is handed over as a key", "osiris/sandbox/static_uses.py", 'if keyword.arg == "key" and not self.handed_over(keyword.value):', "if False:", "tests/sandbox/test_static.py -k way"),
    Guard("a default is a constant", "osiris/sandbox/static_uses.py", "        if not _is_constant(default, module):", "        if False:", "tests/sandbox/test_static.py -k way"),
    Guard("a loop does not make longer what it goes over", "osiris/sandbox/static_loops.py", "if looped & ({grown} | flows.get(grown, set())):", "if False:", "tests/sandbox/test_static.py -k way"),
    Guard("no recursion", "osiris/sandbox/static_loops.py", "return [name for name, others in reached(calls).items() if name in others]", "return []", "tests/sandbox/test_static.py -k way"),
    Guard("ranges are small", "osiris/sandbox/static_ranges.py", "                if not look.small(part):", "                if False:", "tests/sandbox/test_static.py -k way"),
    Guard("attributes off the list", "osiris/sandbox/static_uses.py", "elif node.attr not in self.module.fields | {*allowed.RESULT_FIELDS}:", "elif False:", "tests/sandbox/test_static.py"),
    Guard("a patch leaves the policy's files", "osiris/kernel/repo.py", 'if modes != dict.fromkeys(PATCHABLE, "100644"):', "if False:", "tests/kernel/test_repo.py"),
    Guard("locks of a killed kernel", "osiris/kernel/repo.py", "(self.folder / f\"{name}.lock\").unlink(missing_ok=True)", "pass", "tests/kernel/test_repo.py tests/kernel/test_apply.py"),
    Guard("a step that was begun is ended", "osiris/kernel/apply.py", "        repo.go_live(commit, before)\n    book.note(DONE[step]", "        pass\n    book.note(DONE[step]", "tests/kernel/test_apply.py"),
    Guard("a negative reward rolls back", "osiris/kernel/observe.py", "if reward.total < 0:", "if False:", "tests/journeys/test_kernel.py"),
    Guard("only what is better is applied", "osiris/kernel/trial.py", "PROVED if measured.better else NOT_BETTER", "PROVED", "tests/journeys/test_kernel.py"),
    Guard("a rollback waits for no model", "osiris/workspace.py", "            lambda: self.drafter(moment),\n", "            (lambda opened: lambda: opened)(self.drafter(moment)),\n", "tests/kernel/test_trial.py -k model"),
    Guard("an upgrade is no patch", "osiris/kernel/repo.py", "if live.patch_id is None and live.files != shipped_files() and not edited_files():", "if False:", "tests/kernel/test_repo.py -k upgrade"),
    Guard("an edit in place is no upgrade", "osiris/kernel/repo.py", " and not edited_files():", ":", "tests/kernel/test_edited.py"),
    Guard("an edit in place is not run", "osiris/kernel/live.py", "if version.patch_id is None and not edited_files():", "if version.patch_id is None:", "tests/kernel/test_edited.py"),
    Guard("no patch live is the shipped policy", "osiris/kernel/live.py", "if version.patch_id is None and not edited_files():", "if False:", "tests/kernel/test_repo.py -k upgrade"),
    Guard("a lacking number leaves the other trades their say", "osiris/kernel/observe.py", "whole = seen[np.isfinite(seen[WHOLE].to_numpy(np.float64)).all(axis=1)]", "whole = seen", "tests/kernel/test_trial.py -k lacks"),
    Guard("a moved branch does not stop the kernel", "osiris/kernel/apply.py", '        book.note("abandoned", facts["id"], as_of, begun=step, reason=why, **along)\n', "", "tests/kernel/test_apply.py -k moved"),
    Guard("a live policy's time is renewed", "osiris/sandbox/session.py", "if self._renewed and", "if False and", "tests/sandbox/test_session.py -k allowance"),
    Guard("a slow start is the machine's", "osiris/sandbox/session.py", "patience = ANSWER_SECONDS if self._process else START_SECONDS", "patience = ANSWER_SECONDS", "tests/sandbox/test_session.py -k slow_start"),
    Guard("what cannot be judged waits for another past", "osiris/kernel/trial.py", '        if state == NOT_YET and before["past"] == mark:\n', "        if False:\n", "tests/kernel/test_trial.py -k Yet"),
    Guard("own drafts leave people their level", "osiris/kernel/trial.py", '(facts["id"] in drafted) == own', "True", "tests/kernel/test_trial.py -k apart"),
    Guard("own drafts have their time", "osiris/kernel/trial.py", "if measured and kernel.as_of < measured[-1] + pause:", "if False:", "tests/kernel/test_trial.py -k once"),
    Guard("a patch is applied to what it was measured against", "osiris/kernel/meta_loop.py", 'kernel.repo.version(entry["base"])', "kernel.repo.head()", "tests/journeys/test_kernel.py -k Pays"),
    Guard("a look is counted once", "osiris/kernel/trial.py", " - {patch.id}", "", "tests/journeys/test_kernel.py -k Pays"),
    Guard("a moved branch is set right", "osiris/kernel/meta_loop.py", "if (head.patch_id, head.files) == (live[-1] if live else None, made):", "if True:", "tests/kernel/test_trial.py -k Moved"),
    Guard("a live policy is asked twice", "osiris/kernel/live.py", "            self.close()\n            try_sandbox()\n", "            raise\n", "tests/sandbox/test_session.py -k outside"),
    Guard("what was measured has its verdict", "osiris/kernel/trial.py", "        elif may_be_judged(before):\n", "        elif True:\n", "tests/kernel/test_trial.py -k Yet"),
    Guard("a step is dated by its end", "osiris/kernel/apply.py", 'book.note(DONE[step], facts["id"], as_of, **along)', 'book.note(DONE[step], facts["id"], facts["at"], **along)', "tests/kernel/test_apply.py -k dated"),
    Guard("what is live is looked after whoever judges", "osiris/kernel/meta_loop.py", 'with one_at_a_time(kernel.settings.data / "kernel.turn.lock", "turn of the kernel"):', "with kernel.step():", "tests/kernel/test_trial.py -k looked_after"),
    Guard("a signature is checked", "osiris/kernel/patch.py", "if key and not hmac.compare_digest", "if False and not hmac.compare_digest", "tests/kernel/test_patch.py"),
    Guard("one change has one id", "osiris/kernel/patch.py", "meaning(self.before), meaning(self.after)", "self.before, self.diff", "tests/kernel/test_spelling.py"),
    Guard("who went with another may come again", "osiris/kernel/trial.py", 'return state in OPEN or (state == "rolled_back" and bool(patch.get("built_on")))', "return state in OPEN", "tests/kernel/test_spelling.py"),
    Guard("who lost by itself may not", "osiris/kernel/patch_log.py", 'own = {**facts, "built_on": None}', "own = facts", "tests/kernel/test_spelling.py"),
    Guard("what is no trace is left out", "osiris/storage/patches.py", "if item is not None and _is_trace(item):", "if item is not None:", "tests/kernel/test_spelling.py"),
    Guard("the terminal takes no orders", "osiris/cli/kernel.py", "print(printable(diff))", "print(diff)", "tests/kernel/test_spelling.py"),
    Guard("every law is told of", "osiris/sandbox/laws.py", "found.keys() != law_names()", "False", "tests/kernel/test_prove.py -k symbolic"),
    Guard("laws are tried from outside", "osiris/sandbox/laws.py", "        for number in named_numbers(files):", "        for number in named_numbers(files)[:0]:", "tests/kernel/test_prove.py -k outside"),
    Guard("no thread in a policy's box", "osiris/sandbox/bubblewrap.py", '        rules.add_rule(seccomp.ERRNO(1), "clone")\n', "        pass\n", "tests/sandbox/test_session.py -k thread"),
    Guard("no memfd in the box", "osiris/sandbox/bubblewrap.py", '"memfd_create", ', "", "tests/sandbox/test_session.py -k memfd"),
    Guard("no System V in the box", "osiris/sandbox/bubblewrap.py", '"shmget", ', "", "tests/sandbox/test_session.py -k System"),
    Guard("nothing can be written in the box", "osiris/sandbox/bubblewrap.py", '"--chdir", "/tmp", "--remount-ro", "/",', '"--chdir", "/tmp",', "tests/sandbox/test_session.py -k empty"),
    Guard("who waits looks at memory", "osiris/sandbox/session.py", "if (now := held(process)) > most:", "if False:", "tests/sandbox/test_session.py -k holds"),
    Guard("a slow candidate is waited for once", "osiris/sandbox/policies.py", "        if self._too_slow:\n", "        if False:\n", "tests/sandbox/test_session.py -k waited"),
    Guard("a patch goes on trial", "osiris/kernel/trial.py", "if verdict == PROVED and kernel.settings.kernel.trial_days:", "if False:", "tests/journeys/test_kernel_trial.py"),
    Guard("a trial looks at days after the patch", "osiris/kernel/shadow.py", 'Look(patch["began"], patch["until"], ', 'Look(patch["began"] - (patch["until"] - patch["began"]), patch["began"], ', "tests/journeys/test_kernel_trial.py"),
    Guard("a trial has one look at its end", "osiris/kernel/shadow.py", 'if patch["until"] <= kernel.as_of]', "]", "tests/kernel/test_shadow.py -k before_its_end"),
    Guard("a trial is built on what is live", "osiris/kernel/shadow.py", 'if patch["before"] != live.files[patch["target"]]:', "if False:", "tests/kernel/test_shadow.py -k gone"),
    Guard("a won trial that was not applied is decided anew", "osiris/kernel/shadow.py", 'in (ON_TRIAL, PROVED)', "in (ON_TRIAL,)", "tests/kernel/test_shadow.py -k killed"),
    Guard("trials at once share the level", "osiris/kernel/shadow.py", "level = level_of(number, rules.trial_level / 2)", "level = level_of(1, rules.trial_level / 2)", "tests/kernel/test_shadow.py -k share"),
    Guard("money lost ends a patch", "osiris/kernel/observe.py", "if finding is None and lost > settings.kernel.max_loss:", "if False:", "tests/kernel/test_observe.py -k Money"),
    Guard("few trades have a live verdict", "osiris/kernel/observe.py", '| (trades["at"] >= first)', "", "tests/kernel/test_observe.py -k Reward"),
    Guard("a patch that lets nothing through goes", "osiris/kernel/observe.py", "    if over:\n", "    if False:\n", "tests/kernel/test_observe.py -k LittleThrough"),
    Guard("a size of 0 is no trade", "osiris/kernel/observe.py", " AND size > 0", "", "tests/kernel/test_observe.py -k zero"),
    Guard("what is refused has a say", "osiris/kernel/observe.py", "return Finding(reason, {}) if reason else None", "return None", "tests/kernel/test_observe.py -k Refused"),
    Guard("leverage is no gain", "osiris/evaluation/rewards.py", "return [equal] if equal <= 1 else [1.0, equal]", "return [1.0]", "tests/kernel/test_measure.py -k NoGain"),
    Guard("trading less is no gain", "osiris/evaluation/rewards.py", "else [1.0, equal]", "else [equal]", "tests/kernel/test_measure.py -k few_good"),
    Guard("a patch makes more money beyond chance", "osiris/kernel/judgement.py", "and self.p_value < self.level", "", "tests/kernel/test_measure.py -k seldom"),
    Guard("blocks are longer than trades are open", "osiris/evaluation/block_stats.py", "return 1 + math.ceil(2 * most", "return math.ceil(most", "tests/evaluation/test_block_stats.py"),
    Guard("as many weeks as the level needs", "osiris/kernel/judgement.py", "    if blocks < needed:\n", "    if False:\n", "tests/kernel/test_measure.py -k weeks_for"),
    Guard("no life is shorter than none", "osiris/kernel/history.py", "max(0.0, (patch", "((patch", "tests/kernel/test_observe.py -k set_back"),
    Guard("a missing number has no reward", "osiris/evaluation/rewards.py", "        if lacking:\n", "        if False:\n", "tests/evaluation/test_rewards.py"),
    Guard("too few trades have no reward", "osiris/evaluation/rewards.py", "if len(trades) < rules.min_trades:", "if False:", "tests/evaluation/test_rewards.py"),
    Guard("Redis is told once", "osiris/storage/patches.py", "== 0 then return 0 end", "== 2 then return 0 end", "tests/kernel/test_patch.py"),
    Guard("pairs of like reward-to-risk", "osiris/training/pairs.py", "_ratio_gap(won, lost) <= max_ratio_gap", "True", "tests/training/test_pairs.py"),
    Guard("a failed training is not served", "osiris/adapters/registry.py", "        if card.failed:\n", "        if False:\n", "tests/adapters/test_registry.py"),
    Guard("invalid replies fail a training", "osiris/training/behaviour.py", "    if valid < least:\n", "    if False:\n", "tests/training/test_behaviour.py"),
    Guard("a lost form of the chosen fails a training", "osiris/training/behaviour.py", "if fall > settings.training.max_chosen_fall:", "if False:", "tests/training/test_behaviour.py"),
    Guard("a person's word outlives the gate's", "osiris/adapters/verdicts.py", 'verdict = verdict | {"gate_promoted": verdict["promoted"]} | word', "pass", "tests/adapters/test_registry.py"),
    Guard("an unreadable verdict may be a demotion", "osiris/adapters/registry.py", "            return str(error)\n", "            return None\n", "tests/adapters/test_registry.py"),
    Guard("a file is no adapter", "osiris/adapters/registry.py", "if not os.path.lexists(self.folder / name):", "if not (self.folder / name).is_dir():", "tests/adapters/test_registry.py"),
    Guard("a dataset is read as it was written", "osiris/training/datasets.py", "    if came != about.sha256:\n", "    if False:\n", "tests/training/test_lineage.py"),
    Guard("an ancestor that is gone is named", "osiris/training/lineage.py", "trained.parent not in (None, BASE)", "trained.parent in ()", "tests/training/test_lineage.py"),
    Guard("an edited entry teaches no other trade", "osiris/training/stored_replies.py", "    if not at_the_price(row):\n", "    if False:\n", "tests/training/test_pairs.py"),
    Guard("an edit changes no other character", "osiris/training/stored_replies.py", "return told if told is not None and parse_reply(told, row[\"ticker\"]) == wanted else None", "return wanted.to_json()", "tests/training/test_pairs.py"),
    Guard("what a reply cannot say is refused", "osiris/review/decide.py", "if distance > MAX_DISTANCE_ATR * (1 + ROUNDING):", "if False:", "tests/review/test_decide.py"),
    Guard("an edit after the cut-off is not known", "osiris/training/pairs.py", 'row["status_at"] is not None and row["status_at"] <= cutoff)', "True)", "tests/training/test_pairs.py"),
    Guard("a reviewer knows all days until the decision", "osiris/training/nightly.py", 'until = max(max(row["as_of"], row["status_at"]) for row in rows)', 'until = max(row["as_of"] for row in rows)', "tests/training/test_nightly.py"),
    Guard("a night goes on as it began", "osiris/training/night_facts.py", "        return begun\n", "        pass\n", "tests/training/test_night_facts.py"),
    Guard("tonight's own adapter is not its champion", "osiris/training/night_facts.py", "serve(shelf, settings, as_of, before=name)", "serve(shelf, settings, as_of)", "tests/training/test_night_facts.py"),
    Guard("a failed training taught nothing", "osiris/training/learned.py", "return None if card.failed else card.as_of", "return card.as_of", "tests/training/test_night_facts.py"),
    Guard("a moved workspace is itself", "osiris/adapters/mlflow_store.py", "            bring_home(self._database, self.artifacts)\n", "            pass\n", "tests/adapters/test_mlflow_runs.py"),
    Guard("the last verdict is shown", "osiris/adapters/mlflow_runs.py", "points([], before | metrics, int(time.time() * 1000), number)", "points([], metrics, run.info.start_time)", "tests/adapters/test_mlflow_runs.py"),
    Guard("a deleted experiment is restored", "osiris/adapters/mlflow_store.py", 'if found.lifecycle_stage == "deleted":', "if False:", "tests/adapters/test_mlflow_runs.py"),
    Guard("a parent is as its recipe says", "osiris/training/targets.py", "getattr(theirs, key)) for key in LORA}", 'getattr(theirs, key)) for key in ("r", "lora_alpha")}', "tests/training/test_run.py"),
    Guard("lineage is of the very dataset", "osiris/training/lineage.py", 'about["sha256"] != card.data_hash', "False", "tests/training/test_lineage.py"),
    Guard("as many good as bad at each ratio", "osiris/training/datasets.py", "[: min(len(both[True]), len(both[False]))]", "", "tests/training/test_pairs.py"),
    Guard("one night at a time", "flows/nightly.py", 'one_at_a_time(ws.settings.data / "nightly.lock", "night"),', "", "tests/flows/test_nightly.py"),
    Guard("a page begins behind the page before", LISTING, "        behind += sum(one in past for one in ids)\n", "        behind += len(after)\n", f"{TEST_TAB} tests/review/test_queries.py"),
    Guard("an edit moves no page", PAGE, "self.sort in MOVES", "False", TEST_TAB),
    Guard("an edit changes something", "osiris/review/decide.py", "        _check_changed(idea, given)\n", "        pass\n", "tests/review/test_decide.py"),
    Guard("strangers use up no reviewer's requests", "osiris/api/middleware.py", "str(known)", '"all"', TEST_API),
    Guard("a session is a day where the ticker trades", WORTH, "timezone_of(calendar_of(ticker, prices))", '"UTC"', TEST_WORTH),
    Guard("only a pending idea is decided on", RULES, "        may_decide(idea)\n", "        pass\n", TEST_ADVICE),
    Guard("of a group, the next sees the one before", RULES, '        self.ideas[idea["id"]] = idea | changes\n', "", "tests/storage/test_rules.py"),
    Guard("an undo takes back what stands", RULES, "any(idea[name] != decision[name] for name in made)", "False", TEST_API),
    Guard("what is settled stays", RULES, 'if idea["outcome"] in FINAL or idea["exit_reason"]:\n        raise Conflict("an idea whose', 'if False:\n        raise Conflict("an idea whose', TEST_API),
    Guard("what was asked to close stays", RULES, 'if idea["close_asked_at"] is not None:\n        asked', "if False:\n        asked", TEST_API),
    Guard("an undo gives the drafted levels back", RULES, "**unsettled, **levels}", "**unsettled}", TEST_API),
    Guard("an undo clears the open outcome", RULES, "**unsettled, **levels}", "**levels}", TEST_API),
    Guard("an undo is replayed on what it may change", TABLES, ' if kind == "decided" else f"target.{DECIDED_SQL} AND {unsettled}"', "", TEST_ADVICE),
    Guard("edits and approvals are written apart", TABLES, "for alike in _alike(rows))", "for alike in [[row['changes'] for row in rows]])", TEST_API + " tests/store"),
    Guard("nobody of a group is forgotten", GROUPED, "group = [call, *(other for other in self._waiting if other is not call)]", "group = [call]", "tests/storage/test_group_commit.py"),
    Guard("too many requests", "osiris/api/middleware.py", "if not limiter.hit(item, client, str(known)):", "if False:", TEST_API),
    Guard("a moment is no number", "osiris/core/commands.py", "if numeric or isinstance(value, int | float):", "if False:", TEST_API),
    Guard("an answer is fresh", "osiris/api/ideas.py", """tag = f'W/"{advice.version}"'""", """tag = 'W/"1"'""", TEST_API),
    Guard("what was like it came before it", LISTING, '_similar(advice, row, f"{before} AND ', '_similar(advice, row, f"', TEST_API),
    Guard("no bar is later than the clock", LISTING, 'min(as_of, row["as_of"] + BARS_SINCE)', 'row["as_of"] + BARS_SINCE', TEST_API),
    Guard("bars in the idea's basis", LISTING, "factor = cumulative[-1] / cumulative[then]", "factor = 1.0", "tests/review/test_queries.py"),
    Guard("doubt is left out of a review's worth", WORTH, ' & ~ideas["ambiguous"].fillna(False).astype(bool)', "", TEST_WORTH),
    Guard("ideas of a session are not independent", WORTH, "effective = count / max(clustered / variance, 1)", "effective = count", TEST_WORTH),
    Guard("a decision without an answer is kept", CLIENT, "            if answer.saved or answer.refused:\n", "            if True:\n", TEST_TAB),
    Guard("an answer that says nothing keeps it too", CLIENT, "if answer.status_code in SAYS_NOTHING or answer.is_server_error:", "if answer.is_server_error:", TEST_TAB),
    Guard("the same key for every attempt", CLIENT, '"Idempotency-Key": letter.key', '"Idempotency-Key": secrets.token_hex(16)', TEST_TAB),
    Guard("one decision on an idea at a time", PAGE, ' and idea["id"] not in self.desk.unsent', "", TEST_TAB),
    Guard("rows keep their place", PAGE, "here = [idea[\"id\"] for idea in self.ideas]\n", "here = []\n", TEST_TAB),
    Guard("an edit that makes no trade is not sent", TAB, "        if content is not None:\n", "        if True:\n            content = content or {}\n", TEST_TAB),
    Guard("a page made before begins anew", TAB, "if not (self.made or self.desk.unsent):", "if False:", TEST_TAB),
    Guard("a verdict is of the decision that was judged", ADVICE, 'name in ("id", "status", "status_at") if', 'name in ("id",) if', TEST_ADVICE),
    Guard("what was judged is told", LOGGER, ', "open_reason", "status", "status_at"]]', ', "open_reason"]]', TEST_LOGGER),
    Guard("a form saves its own row", TAB, 'as kind if message["id"] == self.table.form.get("id"):', "as kind:", TEST_TAB),
    Guard("what a repeat finds changed is not said to stand", CLIENT, '(idea["status"], idea["reviewer"]) == (wanted, by)', "True", TEST_TAB),
    Guard("no later outcome beside an idea", LISTING, 'row["closed_at"] <= as_of:', "True:", TEST_API),
    Guard("no interval from few sessions", WORTH, "MIN_SESSIONS = 10", "MIN_SESSIONS = 2", TEST_WORTH),
    Guard("a look from before a decision is dropped", PAGE, "look is None or look.edition != self._edition", "look is None", TEST_TAB),
    Guard("decided on is what is shown as selected", TAB, "lambda: self.table.ask(FeedbackType.REJECTION)", "lambda: self.decide(FeedbackType.REJECTION, self.table.selected)", TEST_DESK + " -k selection"),
    Guard("the last picture asked for is shown", "osiris/ui/idea_details.py", "wanted == self.wanted and self._put(shown)", "self._put(shown)", "tests/ui/test_idea_details.py"),
    Guard("a key held down decides once", TABLE_JS, "if (event.repeat && !moving.has(event.key)) return;", "", TEST_DESK + " -k held"),
    Guard("keys with modifiers are the browser's", TABLE_JS, "event.ctrlKey || event.metaKey || event.altKey || ", "", TEST_DESK + " -k modifiers"),
    Guard("text is no markup", "osiris/ui/dom.js", "made.textContent = text;", "made.innerHTML = text;", "tests/browser/test_injections.py -k wherever"),
    Guard("leaving asks first", TABLE_JS, "event.preventDefault(); };\n  const look", "; };\n  const look", TEST_DESK + " -k leaving"),
    Guard("a notebook's keys stay out of the way", TABLE_JS, 'root.dataset.lmSuppressShortcuts = "true";', "", "tests/browser/test_lab.py"),
    Guard("24 elapsed hours", LOGGER, "({ACCEPTED_SQL} AND status_at <= {latest})", "({ACCEPTED_SQL})", TEST_LOGGER),
    Guard("shadow outcomes are no events", LOGGER, "isin(FINAL) & ~verdicts", "isin(FINAL) | verdicts", TEST_LOGGER),
    Guard("one run at a time", LOGGER, "    with one_at_a_time(settings.data / \"outcomes.lock\", \"outcome run\"):\n", "    if True:\n", TEST_LOGGER),
    Guard("Redis away costs no outcome", LOGGER, "except SourceUnavailable as error:", "except ZeroDivisionError as error:", TEST_LOGGER),
    Guard("delivery is noted", LOGGER, "    advice.mark_published(", "    len(", TEST_LOGGER),
    Guard("finer bars where a day is ambiguous", LOGGER, "    if not refined:", "    if True:", TEST_LOGGER),
    Guard("bars before acceptance do not count", TOUCH, "np.searchsorted(start, since[i])", "0", TEST_TOUCH),
    Guard("the entry must trade", TOUCH, "                if low <= e_high and e_low <= h:\n                    filled", "                if True:\n                    filled", TEST_TOUCH),
    Guard("a gap through the stop", TOUCH, "elif o <= x_high:", "elif o < -1e9:", TEST_TOUCH),
    Guard("a gap through the target", TOUCH, "elif o >= t_low:", "elif o > 1e9:", TEST_TOUCH),
    Guard("both levels in a bar are a loss", TOUCH, "elif low <= x_high:", "elif low <= x and h < t:", TEST_TOUCH),
    Guard("both levels in a bar are in doubt", TOUCH, "ambiguous[i] |= h >= t_low or cut", "ambiguous[i] |= cut", TEST_TOUCH),
    Guard("the order inside the filling bar", TOUCH, "h >= t_low and (o <= e_high or c >= t_low)", "h >= t", TEST_PATHS),
    Guard("a stop in the filling bar", TOUCH, "ambiguous[i] |= target_maybe or not stop_sure or cut", "ambiguous[i] = target_maybe or cut", TEST_PATHS),
    Guard("a target in the filling bar", TOUCH, "                    elif target_maybe:\n", "                    elif False:\n", TEST_PATHS),
    Guard("expiry", TOUCH, "if code == STILL_OPEN and expiry[i] <= end[j]:", "if False:", TEST_TOUCH),
    Guard("a split rescales", TOUCH, "s * cumulative[j] / split[i]", "s", TEST_TOUCH),
    Guard("a split rescales once", CLAIMS, "np.where(last >= 0, bars.split[last], 1.0)", "np.ones(len(last))", TEST_JUDGE),
    Guard("the breakeven band", JUDGE, "[np.abs(r) <= band, r > 0]", "[np.abs(r) < 0, r > 0]", TEST_JUDGE),
    Guard("no verdict across doubts", JUDGE, "    _hold_back(rulings, line.doubts", "    len if rulings else (rulings, line.doubts", TEST_JUDGE),
    Guard("a verdict before a doubt stands", JUDGE, "np.where(touches.bar >= 0, bars.start[touches.bar], limit)", "np.full(len(closed), limit)", TEST_JUDGE),
    Guard("a price by hand must have traded", JUDGE, "if not _traded(", "if False and not _traded(", TEST_JUDGE),
    Guard("a delisting needs silence", JUDGE, "or limit - asked < silence", "or False", TEST_JUDGE),
    Guard("a level reached before a close by hand", CLAIMS, "np.minimum(expiry, claims.asked)", "np.minimum(claims.since, claims.asked)", TEST_JUDGE),
    Guard("a disputed session", LINE, "for d in disputes]", "for d in ()]", TEST_LINE),
    Guard("finer bars that contradict", LAYERS, "            self.wrong.append(number)\n", "            pass\n", TEST_LINE),
    Guard("finer bars with a gap", LAYERS, "return stop if follows.all() else at + int(np.argmin(follows))", "return stop", TEST_LINE),
    Guard("the gap of a session that is over", LAYERS, "if over and not whole and mine.sum() <= 1:", "if False:", TEST_LINE),
    Guard("a jump like a split", LINE, "| {JUMP: _jumps(laid, frames)}", "", TEST_LINE),
    Guard("minutes within hours under way", LAYERS, "replaced = mine if whole else mine & (self.chosen.end <= fine.end[run - 1])", "replaced = mine & over", TEST_LINE),
    Guard("a confirmed jump", LINE, "left = ~np.isin(np.searchsorted(opens, start, side=\"right\"), spoken)", "left = np.ones(len(start), np.bool_)", TEST_LINE),
    Guard("hours stay whatever the minutes lack", LAYERS, "and mine.sum() <= 1:", ":", TEST_LINE),
    Guard("the future is not seen", LINE, "columns.where(columns.end <= limit)", "columns.where(columns.end <= limit + 10**15)", TEST_LINE),
    Guard("a session without bars", LINE, "np.flatnonzero((sessions.closes <= sessions.limit) & ~covered[:-1])", "np.array([], np.int64)", TEST_LINE),
    Guard("a jump too far in any market", JUMPS, "(size >= np.log(ALWAYS)) | rare", "rare", TEST_JUMPS),
    Guard("a jump too far for its market", JUMPS, "| rare |", "|", TEST_JUMPS),
    Guard("small splits of quiet shares", JUMPS, "| _small(jump, usual, first_of_session)", "", TEST_JUMPS),
    Guard("a split on adjusted prices", JUMPS, "| _recorded(jump, bars.split, usual)", "", TEST_JUMPS),
    Guard("a bad tick", JUMPS, "return _between(bars) | _inside(bars)", "return _between(bars)", TEST_JUMPS),
    Guard("a stop in a gap", TOUCH, "if (filled[i] or maybe or h >= e_low) and low <= x_high:", "if False:", TEST_GAPS),
    Guard("a target that must be in a gap", TOUCH, "elif filled[i] and h >= t_low and sure:", "elif filled[i] and h >= t:", TEST_GAPS),
    Guard("the rest of a gap", TOUCH, "            first -= 1  # of a gap that had begun the rest counts\n", "            pass\n", TEST_GAPS),
    Guard("an extreme that a known bar has", "osiris/market/gaps.py", "known.high.max() * (1 + tolerance)", "0.0", TEST_GAPS),
    Guard("a split counts once", LAYERS, "        bars.split[place >= 0] = 1.0\n", "", TEST_LINE),
    Guard("a session that had no bars", LINE, "covered[:-1] |= np.isin(sessions.opens, laid.closed)", "pass", TEST_LINE),
    Guard("a bar that comes after all", BARS, "if len(came) and (interval == DAILY", "if False and (interval == DAILY", TEST_DISK),
    Guard("a damaged file is moved aside by a person's import alone", "osiris/market/bar_rewrite.py", "        if not repair:\n", "        if False:\n", TEST_DISK),
    Guard("pieces begin with sessions", "osiris/market/file_import/spool.py", "opens[session[session >= 0]]", "middle", TEST_PIECES),
    Guard("a series ends with what is refused", "osiris/market/file_import/__init__.py", "        if found.refused:\n", "        if found.bars is None:\n", TEST_PIECES),
    Guard("bars change their length", "osiris/market/file_import/mixed.py", "            if len(begins):\n", "            if False:\n", TEST_PIECES),
    Guard("a file gives what it says", "osiris/market/bar_rewrite.py", "if edges and seen != rows:", "if False:", TEST_PIECES),
    Guard("no piece is too short", "osiris/market/bar_rewrite.py", "len(waiting) // PIECE - 1", "len(waiting) // PIECE", TEST_PIECES),
    Guard("a jump between two pieces", "osiris/market/backfill.py", "        before = [piece]\n", "        before = []\n", TEST_PIECES),
    Guard("pieces with nothing new stay", "osiris/market/bar_pieces.py", "                yield (low, left[0]), None\n", "                pass\n", TEST_PIECES),
    Guard("what comes after all that is new stays", "osiris/market/bar_pieces.py", "            yield (low, edge), None\n", "            pass\n", TEST_PIECES),
    Guard("an unchanged file is not written", "osiris/market/bar_rewrite.py", "            if not changed and combined.equals(stored):\n", "            if False:\n", TEST_PIECES),
    Guard("who replaces one bar speaks for no other", MERGE, "beyond = changed | theirs.index.isin(disputed)", "beyond = changed | True", "tests/market/test_bar_store.py"),
    Guard("bars that a person brought stand", MERGE, '_marked(mine["source"], CONFIRMED, GIVEN)', '_marked(mine["source"], CONFIRMED)', "tests/market/test_bar_store.py"),
    Guard("a price next to a level is the level", TOUCH, "SAME = 2.0**-24", "SAME = 0.0", TEST_SHAPES),
    Guard("nothing lacks in a pause", "osiris/market/gaps.py", "(start < end) & ~bridged(start, end, pause)", "start < end", TEST_SHAPES),
    Guard("a pause does not break hours", "osiris/market/gaps.py", "return (end == start) | ((pause[0] <= end) & (start <= pause[1]))", "return end == start", TEST_SHAPES),
    Guard("one grid after a break", "osiris/market/file_import/where.py", "return np.where(later, by_break, by_open) if", "return by_open | (later & by_break) if", "tests/market/test_bar_lengths.py"),
    Guard("shorter bars contradict longer ones", LAYERS, "            self.differing.append(number)\n", "            pass\n", TEST_SHAPES),
    Guard("a daily bar before a hole", LINE, "before = begins[(lengths >= HOLE)", "before = begins[(lengths < 0)", TEST_SHAPES),
    Guard("midnight in UTC that is the open", "osiris/market/file_import/lengths.py", "            _reject_opens(at, where)\n", "            pass\n", "tests/market/test_bar_lengths.py"),
    Guard("a session of longer bars", "osiris/market/file_import/mixed.py", "    if len(there) and np.median(there) > ALL_THERE:\n", "    if False:\n", "tests/market/test_bar_lengths.py"),
    Guard("a bar that another cuts short", "osiris/market/file_import/mixed.py", "return found if len(early) > SLIPS else found[:0]", "return found[:0]", "tests/market/test_bar_lengths.py"),
    Guard("a mixture of names and tickers", "osiris/market/file_import/tickers.py", "        if like.any():\n", "        if False:\n", "tests/market/test_vendor_files.py"),
    Guard("a bar that is stored twice", "osiris/market/bar_rewrite.py", 'if stored["start"].duplicated().any():', "if False:", TEST_PIECES),
    Guard("what Python gives up on has an id", "osiris/kernel/patch.py", "        return ast.dump(tree)\n    except (", "        pass\n    except (", "tests/sandbox/test_static_bounds.py tests/kernel/test_patch.py"),
    Guard("a number of thousands of digits", "osiris/sandbox/static.py", "return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > MOST_WRITTEN", "return False", "tests/sandbox/test_static_bounds.py"),
    Guard("the check ends", "osiris/sandbox/static_ranges.py", "self.module.steps > MOST_STEPS or", "", "tests/sandbox/test_static_bounds.py -k double --timeout 60"),
    Guard("a number that adds up is not small", "osiris/sandbox/static_ranges.py", "return not self.grows", "return True", "tests/sandbox/test_static_bounds.py"),
    Guard("a number that is multiplied is not small", "osiris/sandbox/static_ranges.py", " or name in self.augmented", "", "tests/sandbox/test_static_bounds.py"),
    Guard("a text makes a list longer", "osiris/sandbox/static_loops.py", "return texts or not isinstance(node.value, str)", "return True", "tests/sandbox/test_static_bounds.py"),
    Guard("a box has one order of sets", "osiris/sandbox/bubblewrap.py", '"--setenv", "PYTHONHASHSEED", "0",', "", "tests/sandbox/test_session.py -k order"),
    Guard("a value of a type is not evaluated", "osiris/sandbox/static_syntax.py", "if _of_values(part.slice) for", "for", "tests/sandbox/test_static_bounds.py"),
    Guard("a check that cannot read a file", "osiris/kernel/prove.py", "(ValueError, ArithmeticError, RecursionError, MemoryError, AttributeError, TypeError)", "ZeroDivisionError", "tests/sandbox/test_static_bounds.py"),
    Guard("a damaged file concerns one ticker", "osiris/market/bar_disk.py", "if len(paths) == 1:", "if True:", TEST_DISK),
    Guard("small prices keep their digits", "osiris/core/ideas.py", "9 - math.floor(math.log10(price)) if 0 < price < 1 else 6", "6", "tests/core/test_ideas.py"),
    Guard("half days", "osiris/market/calendars.py", "np.minimum(at + MINUTES[interval] * MINUTE, closes[session])", "(at + MINUTES[interval] * MINUTE)", TEST_LINE),
    Guard("regular hours", "osiris/market/calendars.py", "(session >= 0) & (at < closes[session])", "(session >= 0)", TEST_LINE),
    Guard("an event after the close by hand", TOUCH, "if code == WIN and cut and not at_open[i]:", "if False:", TEST_TOUCH),
    Guard("a fill after the end", TOUCH, "filled[i] = not cut or e_low <= o <= e_high", "filled[i] = True", TEST_TOUCH),
    Guard("Yahoo must have been silent", JUDGE, "or not line.silent", "or False", TEST_JUDGE),
    Guard("a session under way at acceptance", "osiris/market/data_issues.py", "np.searchsorted(np.maximum.accumulate(self.end), moments", "np.searchsorted(self.start, moments", TEST_JUDGE),
    Guard("hours before a gap", JUDGE, "    if inside:\n", "    if False:\n", TEST_JUDGE),
    Guard("the basis of a draft in mid-session", CLAIMS, "np.where(session >= 0, np.append(line.closes, 0)[session], claims.as_of)", "claims.as_of", TEST_JUDGE),
    Guard("minutes that could not be asked for", LOGGER, "return _held_back(verdicts, unasked)", "return verdicts", TEST_LOGGER),
    Guard("the split of today by the hour", YAHOO, "splits.reindex(days).fillna(1.0)", "splits.reindex(days[:0]).reindex(days).fillna(1.0)", TEST_YAHOO),
    Guard("bars settle before they are taken", YAHOO, "return datetime.now(UTC) - SETTLING", "return datetime.now(UTC)", TEST_YAHOO),
    Guard("an entry that the stream dropped", EVENTS, "self._asked(lambda: self._forget_dropped(group))", "pass", f"{TEST_EVENTS} --timeout 30"),
    Guard("any trouble of Redis", EVENTS, "except RedisError as error:", "except ZeroDivisionError as error:", TEST_EVENTS),
    Guard("the basis of the last bar the model saw", CLAIMS, "np.where(claims.basis == NEVER, over, claims.basis)", "over", TEST_JUDGE),
    Guard("a misfit is no silence", FEED, "self._misfits.add(ticker)", "pass", TEST_PRICES),
    Guard("a list of disputes that cannot be read", DISK, "except (ValueError, TypeError, KeyError) as error:\n        remedy = \"remove it once you have looked at it, and run", "except ZeroDivisionError as error:\n        remedy = \"remove it once you have looked at it, and run", "tests/market/test_bar_store.py"),
    Guard("a day is that of its session", BARS, "[session_day(calendar, start) == day for start in frame[\"start\"]]", "list(frame[\"start\"].dt.strftime(\"%Y-%m-%d\") == day)", "tests/market/test_bar_store.py"),
    Guard("raw prices", YAHOO, "auto_adjust=False", "auto_adjust=True", TEST_YAHOO),
    Guard("Yahoo's split adjustment is undone", YAHOO, "since = cumulative[-1] / cumulative", "since = cumulative / cumulative", TEST_YAHOO),
    Guard("the same by the hour", YAHOO, ".mul(later, axis=0)", ".mul(1.0, axis=0)", TEST_YAHOO),
    Guard("NaN bars", YAHOO, "kept = good & ~", "kept = (good | True) & ~", TEST_YAHOO),
    Guard("rows on holidays", YAHOO, "~dates.isin(non_sessions(calendar, dates))", "True", TEST_YAHOO),
    Guard("bars under way", YAHOO, 'pd.Timestamp(min(end, as_of, _settled()))', 'pd.Timestamp("2100-01-01", tz="UTC")', TEST_YAHOO),
    Guard("no network is no delisting", YAHOO, 'raise _unavailable(came, "check the network, or try again later")', "raise _nothing(ticker, came)", TEST_YAHOO),
    Guard("how long a limit lasts", YAHOO, 'self.retry_after = _seconds(response.headers.get("Retry-After"))', "pass", TEST_YAHOO),
    Guard("no answer from yfinance's cache", YAHOO, " + next(ASKED) * 1e-6", "", TEST_YAHOO),
    Guard("a hang", YAHOO, 'options["timeout"] = min(options.get("timeout") or timeout, timeout)', "options.pop('timeout', None)", f"{TEST_YAHOO} -k crumb_that_never --timeout 60"),
    Guard("a limit stops the batch", FEED, "self._quiet_until = now + ", "_ = now + ", TEST_PRICES),
    Guard("a limit is kept to", FEED, "max(self._pause, error.retry_after or 0.0)", "self._pause", TEST_PRICES),
    Guard("one refusal of a ticker stops no other", FEED, "except NothingUsable as error:", "except ZeroDivisionError as error:", TEST_PRICES),
    Guard("beyond Yahoo's reach", FEED, "start = max(start, datetime.now(UTC) - REACH[interval])", "pass", TEST_PRICES),
    Guard("sources apart", MERGE, "(apart > tolerance)", "(apart > 1e9)", TEST_PRICES),
    Guard("splits apart", MERGE, "np.where(same, 0.0, np.inf)", "np.zeros(len(same))", TEST_PRICES),
    Guard("a person's word stands", MERGE, ' & ~_marked(mine["source"], CONFIRMED, GIVEN)', "", "tests/market/test_bar_store.py"),
    Guard("high and low are compared", MERGE, '["close", "high", "low", "open"]', '["close"]', "tests/market/test_bar_store.py"),
    Guard("disputes are remembered", "osiris/market/bar_rewrite.py", "note_disputes(self._file.path, [*self._standing, *found])", "note_disputes(self._file.path, [])", TEST_PRICES),
    Guard("who may end a dispute", "osiris/market/bar_rewrite.py", "(d.start, d.offered_source) not in spoken", "d.start not in set(offered['start'])", "tests/market/test_bar_store.py"),
    Guard("a dispute outlives a failed correction", "osiris/market/bar_rewrite.py", "note_disputes(self._file.path, [*self._earlier, *found])", "note_disputes(self._file.path, [*self._standing, *found])", "tests/market/test_bar_store.py"),
    Guard("a final outcome is final", ADVICE, "verdicts.filter(holds)", "verdicts", "tests/storage/test_advice.py"),
    Guard("an event once", EVENTS, "if redis.call('HSETNX', KEYS[1], event[1], event[3]) == 1 then", "if redis.call('HSET', KEYS[1], event[1], event[3]) then", TEST_EVENTS),
    Guard("an acknowledged event survives a kill", "osiris/storage/redis_server.py", '"appendonly": "yes"', '"appendonly": "no"', TEST_EVENTS),
    Guard("acknowledged after the reader's work", EVENTS, "            handle([json", "            self._redis.xack(OUTCOME, group, *[e for e, _ in entries])\n            handle([json", TEST_EVENTS),
    Guard('weeks are no days', 'osiris/market/file_import/lengths.py', 'if np.median(apart) >= 2 and np.mean(apart <= 1) <= 1 / 3:', 'if False:', 'tests/market/test_bar_lengths.py'),
    Guard('weeks among days', 'osiris/market/file_import/lengths.py', '        if len(apart) >= run:\n', '        if False:\n', 'tests/market/test_bar_lengths.py'),
    Guard('hours cut at the clock', 'osiris/market/file_import/lengths.py', 'if by_clock.mean() >= MOST:', 'if False:', 'tests/market/test_bar_lengths.py'),
    Guard('a known length', 'osiris/market/file_import/lengths.py', '    if name is None:\n        raise Refused(', '    if name is None:\n        return "60m"\n        raise Refused(', 'tests/market/test_bar_lengths.py'),
    Guard('one hour of each day', 'osiris/market/file_import/lengths.py', '    raise _either(f"', '    return day\n    raise _either(f"', 'tests/market/test_bar_lengths.py'),
    Guard('bars stamped with their ends', 'osiris/market/file_import/lengths.py', '    if at_close.sum() > max(1, at_open.sum()):\n', '    if False:\n', 'tests/market/test_bar_lengths.py'),
    Guard('a day around the clock begins at midnight', 'osiris/market/file_import/lengths.py', 'if np.mean(np.abs(off) > slack) > 1 - MOST:', 'if False:', 'tests/market/test_bar_lengths.py'),
    Guard('midnight among hours is no day', 'osiris/market/file_import/moments.py', '            day[lost] = NONE\n', '            pass\n', 'tests/market/test_bar_lengths.py'),
    Guard('day and month are not guessed', 'osiris/market/file_import/moments.py', 'if (first > 12) == (second > 12):', 'if False:', 'tests/market/test_vendor_files.py'),
    Guard('decimal signs are not guessed', 'osiris/market/file_import/numbers.py', '    if point == comma:\n', '    if False:\n', 'tests/market/test_vendor_files.py'),
    Guard('a column says the ticker', 'osiris/market/file_import/tickers.py', 'if "ticker" in rows:', 'if False:', 'tests/market/test_vendor_files.py'),
    Guard('a name that is no ticker', 'osiris/market/file_import/tickers.py', 'if odd or not LENGTHS.isdisjoint(others) or not TICKER_NAMED.fullmatch(name):', 'if False:', 'tests/market/test_vendor_files.py'),
    Guard('rows of one day that differ', 'osiris/market/file_import/series.py', '    yield from _differing(rows, checked.found, interval)\n', '', 'tests/market/test_file_import.py'),
    Guard('an absurd split', 'osiris/market/file_import/numbers.py', '    found[none | (found == 0) | wrong] = np.nan\n', '    found[none | (found == 0) | wrong] = np.nan\n    reason[:] = ""\n', 'tests/market/test_file_import.py'),
    Guard('prices adjusted for a split', 'osiris/market/file_import/row_checks.py', 'if value not in (0.0, 1.0) else', 'if False else', 'tests/market/test_vendor_files.py'),
    Guard('the index of a Parquet file', 'osiris/core/row_files.py', '    return frame.reset_index(names=names)', '    return frame.reset_index(drop=True)', 'tests/market/test_vendor_files.py'),
    Guard("the basis of a labelled file", "osiris/labeling/label_file.py", "return ideas.assign(basis_at=moved)", "return ideas", "tests/labeling/test_label_file.py"),
    Guard("bad rows of a labelled file", "osiris/labeling/label_file.py", "if not name or name in seen:", "if False:", "tests/labeling/test_label_file.py"),
]  # fmt: skip


def main(names: list[str]) -> int:
    """Check the guards named, or all; returns the exit status."""
    chosen = [guard for guard in GUARDS if not names or guard.name in names]
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder) / "tree")
        passed = [guard for guard in track(chosen, "Removing guards") if not caught(guard, tree, console)]
    console.print(f"{len(chosen) - len(passed)} of {len(chosen)} guards have a test that fails without them")
    return 1 if passed else 0


def copied(tree: Path) -> Path:
    """The package, its pages and tests, in a folder of their own, and beside it a virtual environment that has them."""
    for part in ("osiris", "flows", "tests", "notebooks", "recipes", "docs"):
        shutil.copytree(HOUSE / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "pyproject.toml", tree)
    here, there = Path(sys.prefix), tree.with_name("venv")
    shutil.copytree(here, there, symlinks=True, copy_function=linked, ignore=shutil.ignore_patterns("__pycache__"))
    named = [path for path in (there / "bin").iterdir() if path.is_file() and not path.is_symlink()]
    for path in (*named, *there.glob("lib/python*/site-packages/_editable_impl_osiris.pth")):
        text = path.read_bytes().replace(str(here).encode(), str(there).encode())
        path.unlink()  # one file with that of the other environment
        path.write_bytes(text.replace(str(HOUSE).encode(), str(tree).encode()))
        path.chmod(0o755)
    return tree


def linked(source: str, target: str) -> None:
    """Another name of the same file; a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def caught(guard: Guard, tree: Path, console: Console) -> bool:
    """Whether a test fails without the guard."""
    path = tree / guard.file
    whole = path.read_text()
    if whole.count(guard.guard) != 1:
        console.print(f"[red]{guard.name}[/red]: its code is there {whole.count(guard.guard)} times in {guard.file}")
        return False
    path.write_text(whole.replace(guard.guard, guard.without))
    python = tree.with_name("venv") / "bin" / "python"  # also of the servers and kernels that a test starts
    command = [python, "-m", "pytest", "-q", "-x", "--no-header", *guard.tests.split()]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    path.write_text(whole)
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    if ran.returncode == 1 and failed:
        console.print(f"{guard.name}: {failed[0].split(' - ')[0].removeprefix('FAILED ')}", highlight=False)
        return True
    console.print(f"[red]{guard.name}[/red]: no test failed (status {ran.returncode})\n{ran.stdout[-500:]}")
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
