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

from osiris.settings import HOUSE


class Guard(NamedTuple):
    """What is guarded, where, the code that guards it, the code without, and the tests that must then fail."""

    name: str
    file: str
    guard: str
    without: str
    tests: str


TOUCH, LINE, JUDGE = "osiris/loop/first_touch.py", "osiris/loop/timeline.py", "osiris/loop/judge.py"
LOGGER, PRICES, YAHOO = "osiris/loop/outcomes.py", "osiris/loop/prices.py", "osiris/store/yahoo.py"
ADVICE, EVENTS, BARS, MERGE = (
    "osiris/store/advice.py",
    "osiris/store/events.py",
    "osiris/store/bars.py",
    "osiris/bar_merge.py",
)
CLAIMS, FEED = "osiris/loop/claims.py", "osiris/loop/feed.py"
TEST_TOUCH, TEST_PATHS = "tests/loop/test_first_touch.py", "tests/loop/test_first_touch_properties.py --cases 5000"
TEST_LINE, TEST_JUDGE, TEST_LOGGER = (f"tests/loop/test_{name}.py" for name in ("timeline", "judge", "outcomes"))
TEST_PRICES, TEST_YAHOO, TEST_EVENTS = (
    "tests/loop/test_prices.py",
    "tests/store/test_yahoo.py",
    "tests/store/test_events.py",
)

RULES, TABLES, GROUPED = (f"osiris/store/{name}.py" for name in ("rules", "tables", "grouped"))
TAB, PAGE, CLIENT, TABLE_JS = (
    f"osiris/ui/{n}" for n in ("advisory.py", "pinned_page.py", "desk_client.py", "review_table.js")
)
TEST_API, TEST_TAB, TEST_DESK = "tests/test_api.py", "tests/ui/test_advisory.py", "tests/browser/test_desk.py"
TEST_ADVICE, TEST_WORTH = "tests/store/test_advice.py", "tests/loop/test_reviewers.py"
LISTING, WORTH = "osiris/loop/listing.py", "osiris/loop/reviewers.py"

GUARDS = [
    Guard("a finished reply ends", "osiris/llm/grammar.py", "mask[:] = self._end", "mask[:] = -1", "tests/llm/test_grammar.py"),
    Guard("replies are bound", "osiris/llm/write.py", "if settings.model.bound:", "if False:", "tests/llm/test_grammar.py"),
    Guard("the form of a trained model is seen unbound", "osiris/training/behaviour.py", "unbound(settings), settings", "settings, settings", "tests/training/test_behaviour.py"),
    Guard("MLflow's database is whole or not there", "osiris/mlflow_parts.py", "draft = database.with_name(f\".{database.name}.{os.getpid()}\")", "draft = database", "tests/journeys/test_night_crashes.py"),
    Guard("a run that was left unfinished is replaced", "osiris/tracking.py", "            if run.info.status in WHOLE:\n", "            if True:\n", "tests/test_tracking.py"),
    Guard("what candidates share is read once", "osiris/llm/hermes.py", "if len(begun) < len(rows) and all(begun):", "if False:", "tests/llm/test_hermes.py"),
    Guard("the served adapter answers", "osiris/api/models.py", "else workspace.drafter()", "else workspace.models.serve(None)", "tests/test_api_models.py"),
    Guard("an adapter has the server's name", "osiris/llm/remote.py", "        if adapter is not None:\n            model =", "        if False:\n            model =", "tests/llm/test_remote.py"),
    Guard("no second process in the box", "osiris/kernel/box.py", 'rules.add_rule(seccomp.ERRNO(1), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, 0))', "pass", "tests/kernel/test_sandbox.py -k process"),
    Guard("no socket in the box", "osiris/kernel/box.py", '"socket", "socketpair", ', "", "tests/kernel/test_sandbox.py -k socket"),
    Guard("no secrets in the box", "osiris/kernel/box.py", "env={}, cwd", "cwd", "tests/kernel/test_sandbox.py -k secrets"),
    Guard("memory in the box is limited", "osiris/kernel/runner.py", "        (resource.RLIMIT_AS, memory),\n", "", "tests/kernel/test_sandbox.py -k allocation"),
    Guard("an answer in time", "osiris/kernel/sandbox.py", "read_line(process.stdout, patience)", "read_line(process.stdout, 3600)", "tests/kernel/test_sandbox.py -k endless --timeout 20"),
    Guard("a size within the limit", "osiris/policy/contracts.py", "if not 0 <= size <= MAX_RISK:", "if False:", "tests/policy tests/kernel/test_sandbox.py"),
    Guard("names off the list", "osiris/kernel/static.py", 'or name not in own | known | BUILTINS', "", "tests/kernel/test_static.py"),
    Guard("a patch leaves the policy's files", "osiris/kernel/repo.py", 'if modes != dict.fromkeys(PATCHABLE, "100644"):', "if False:", "tests/kernel/test_repo.py"),
    Guard("locks of a killed kernel", "osiris/kernel/repo.py", "(self.folder / f\"{name}.lock\").unlink(missing_ok=True)", "pass", "tests/kernel/test_repo.py tests/kernel/test_apply.py"),
    Guard("a step that was begun is ended", "osiris/kernel/apply.py", "        repo.go_live(commit, before)\n    book.note(DONE[step]", "        pass\n    book.note(DONE[step]", "tests/kernel/test_apply.py"),
    Guard("a negative reward rolls back", "osiris/kernel/observe.py", "if reward.total < 0:", "if False:", "tests/journeys/test_kernel.py"),
    Guard("only what is better is applied", "osiris/kernel/trial.py", "PROVED if measured.better else NOT_BETTER", "PROVED", "tests/journeys/test_kernel.py"),
    Guard("a rollback waits for no model", "osiris/workspace.py", "            lambda: self.drafter(moment),\n", "            (lambda opened: lambda: opened)(self.drafter(moment)),\n", "tests/kernel/test_trial.py -k model"),
    Guard("a lacking number leaves the other trades their say", "osiris/kernel/observe.py", "whole = seen[np.isfinite(seen[WHOLE].to_numpy(np.float64)).all(axis=1)]", "whole = seen", "tests/kernel/test_trial.py -k lacks"),
    Guard("an upgrade is no patch", "osiris/kernel/repo.py", "if live.patch_id is None and live.files != shipped_files():", "if False:", "tests/kernel/test_repo.py -k upgrade"),
    Guard("no patch live is the shipped policy", "osiris/kernel/live.py", "if version.patch_id is None:", "if False:", "tests/kernel/test_repo.py -k upgrade"),
    Guard("a moved branch does not stop the kernel", "osiris/kernel/apply.py", '        book.note("abandoned", facts["id"], as_of, begun=step, reason=why, **along)\n', "", "tests/kernel/test_apply.py -k moved"),
    Guard("a live policy's time is renewed", "osiris/kernel/sandbox.py", "if self._renewed and", "if False and", "tests/kernel/test_sandbox.py -k allowance"),
    Guard("a slow start is the machine's", "osiris/kernel/sandbox.py", "patience = ANSWER_SECONDS if self._process else START_SECONDS", "patience = ANSWER_SECONDS", "tests/kernel/test_sandbox.py -k slow_start"),
    Guard("what cannot be judged waits for another past", "osiris/kernel/trial.py", '        if state == NOT_YET and before["past"] == mark:\n', "        if False:\n", "tests/kernel/test_trial.py -k Yet"),
    Guard("own drafts leave people their level", "osiris/kernel/trial.py", '(facts["id"] in drafted) == own', "True", "tests/kernel/test_trial.py -k apart"),
    Guard("own drafts have their time", "osiris/kernel/trial.py", "if measured and kernel.as_of < measured[-1] + pause:", "if False:", "tests/kernel/test_trial.py -k once"),
    Guard("a patch is applied to what it was measured against", "osiris/kernel/meta_loop.py", 'kernel.repo.version(entry["base"])', "kernel.repo.head()", "tests/journeys/test_kernel.py -k Pays"),
    Guard("a look is counted once", "osiris/kernel/trial.py", " - {patch.id}", "", "tests/journeys/test_kernel.py -k Pays"),
    Guard("a moved branch is set right", "osiris/kernel/meta_loop.py", "if (head.patch_id, head.files) == (live[-1] if live else None, made):", "if True:", "tests/kernel/test_trial.py -k Moved"),
    Guard("a live policy is asked twice", "osiris/kernel/live.py", "            self.close()\n            try_sandbox()\n", "            raise\n", "tests/kernel/test_sandbox.py -k outside"),
    Guard("what was measured has its verdict", "osiris/kernel/trial.py", "        elif state in OPEN:\n", "        elif True:\n", "tests/kernel/test_trial.py -k Yet"),
    Guard("a step is dated by its end", "osiris/kernel/apply.py", 'book.note(DONE[step], facts["id"], as_of, **along)', 'book.note(DONE[step], facts["id"], facts["at"], **along)', "tests/kernel/test_apply.py -k dated"),
    Guard("what is live is looked after whoever judges", "osiris/kernel/meta_loop.py", 'with one_at_a_time(kernel.settings.data / "kernel.turn.lock", "turn of the kernel"):', "with kernel.step():", "tests/kernel/test_trial.py -k looked_after"),
    Guard("a signature is checked", "osiris/kernel/patch.py", "if key and not hmac.compare_digest", "if False and not hmac.compare_digest", "tests/kernel/test_patch.py"),
    Guard("a patch goes on trial", "osiris/kernel/trial.py", "if verdict == PROVED and kernel.settings.kernel.trial_days:", "if False:", "tests/journeys/test_kernel_trial.py"),
    Guard("a trial looks at days after the patch", "osiris/kernel/shadow.py", 'Look(patch["began"], patch["until"], ', 'Look(patch["began"] - (patch["until"] - patch["began"]), patch["began"], ', "tests/journeys/test_kernel_trial.py"),
    Guard("a trial has one look at its end", "osiris/kernel/shadow.py", 'if patch["until"] <= kernel.as_of]', "]", "tests/kernel/test_shadow.py -k before_its_end"),
    Guard("a trial is built on what is live", "osiris/kernel/shadow.py", 'if patch["before"] != live.files[patch["target"]]:', "if False:", "tests/kernel/test_shadow.py -k gone"),
    Guard("a won trial that was not applied is decided anew", "osiris/kernel/shadow.py", 'in (ON_TRIAL, PROVED)', "in (ON_TRIAL,)", "tests/kernel/test_shadow.py -k killed"),
    Guard("trials at once share the level", "osiris/kernel/shadow.py", "level = level_of(number, rules.trial_level / 2)", "level = level_of(1, rules.trial_level / 2)", "tests/kernel/test_shadow.py -k share"),
    Guard("money lost ends a patch", "osiris/kernel/observe.py", "if lost > settings.kernel.max_loss:", "if False:", "tests/kernel/test_observe.py -k Money"),
    Guard("few trades have a live verdict", "osiris/kernel/observe.py", '| (trades["at"] >= first)', "", "tests/kernel/test_observe.py -k Reward"),
    Guard("a patch that lets nothing through goes", "osiris/kernel/observe.py", "    if over:\n", "    if False:\n", "tests/kernel/test_observe.py -k LittleThrough"),
    Guard("a size of 0 is no trade", "osiris/kernel/observe.py", " AND size > 0", "", "tests/kernel/test_observe.py -k zero"),
    Guard("what is refused has a say", "osiris/kernel/observe.py", "return Finding(reason, {}) if reason else None", "return None", "tests/kernel/test_observe.py -k Refused"),
    Guard("leverage is no gain", "osiris/loop/rewards.py", "return [equal] if equal <= 1 else [1.0, equal]", "return [1.0]", "tests/kernel/test_measure.py -k NoGain"),
    Guard("trading less is no gain", "osiris/loop/rewards.py", "else [1.0, equal]", "else [equal]", "tests/kernel/test_measure.py -k few_good"),
    Guard("a patch makes more money beyond chance", "osiris/kernel/judgement.py", "and self.p_value < self.level", "", "tests/kernel/test_measure.py -k NoGain"),
    Guard("blocks are longer than trades are open", "osiris/loop/block_stats.py", "return 1 + math.ceil(2 * most", "return math.ceil(most", "tests/loop/test_block_stats.py"),
    Guard("as many weeks as the level needs", "osiris/kernel/judgement.py", "    if blocks < needed:\n", "    if False:\n", "tests/kernel/test_measure.py -k weeks_for"),
    Guard("no life is shorter than none", "osiris/kernel/history.py", "max(0.0, (patch", "((patch", "tests/kernel/test_observe.py -k set_back"),
    Guard("a missing number has no reward", "osiris/loop/rewards.py", "        if lacking:\n", "        if False:\n", "tests/loop/test_rewards.py"),
    Guard("too few trades have no reward", "osiris/loop/rewards.py", "if len(trades) < rules.min_trades:", "if False:", "tests/loop/test_rewards.py"),
    Guard("Redis is told once", "osiris/store/patches.py", "== 0 then return 0 end", "== 2 then return 0 end", "tests/kernel/test_patch.py"),
    Guard("pairs of like reward-to-risk", "osiris/loop/pairs.py", "_ratio_gap(won, lost) <= max_ratio_gap", "True", "tests/loop/test_pairs.py"),
    Guard("each look at the holdout costs", "osiris/loop/gate.py", "return level / (look * (look + 1))", "return level", "tests/loop/test_promotion.py"),
    Guard("a failed training is not served", "osiris/adapters.py", "        if card.failed:\n", "        if False:\n", "tests/test_adapters.py"),
    Guard("invalid replies fail a training", "osiris/training/behaviour.py", "    if valid < least:\n", "    if False:\n", "tests/training/test_behaviour.py"),
    Guard("a lost form of the chosen fails a training", "osiris/training/behaviour.py", "if fall > settings.training.max_chosen_fall:", "if False:", "tests/training/test_behaviour.py"),
    Guard("lineage is of the very dataset", "osiris/loop/lineage.py", 'about["sha256"] != card.data_hash', "False", "tests/loop/test_lineage.py"),
    Guard("as many good as bad at each ratio", "osiris/loop/lessons.py", "[: min(len(both[True]), len(both[False]))]", "", "tests/loop/test_pairs.py"),
    Guard("one night at a time", "flows/nightly.py", 'with one_at_a_time(load_settings(workspace).data / "nightly.lock", "night"):', "if True:", "tests/flows/test_nightly.py"),
    Guard("a page begins behind the page before", LISTING, "        behind += sum(one in past for one in ids)\n", "        behind += len(after)\n", f"{TEST_TAB} tests/loop/test_listing.py"),
    Guard("an edit moves no page", PAGE, "self.sort in MOVES", "False", TEST_TAB),
    Guard("an edit changes something", "osiris/loop/review.py", "        _check_changed(idea, given)\n", "        pass\n", "tests/loop/test_review.py"),
    Guard("strangers use up no reviewer's requests", "osiris/api/guards.py", "str(known)", '"all"', TEST_API),
    Guard("a session is a day where the ticker trades", WORTH, "timezone_of(calendar_of(ticker, prices))", '"UTC"', TEST_WORTH),
    Guard("only a pending idea is decided on", RULES, "        may_decide(idea)\n", "        pass\n", TEST_ADVICE),
    Guard("of a group, the next sees the one before", RULES, '        self.ideas[idea["id"]] = idea | changes\n', "", "tests/store/test_rules.py"),
    Guard("an undo takes back what stands", RULES, "any(idea[name] != decision[name] for name in made)", "False", TEST_API),
    Guard("what is settled stays", RULES, 'if idea["outcome"] in FINAL or idea["exit_reason"]:\n        raise Conflict("an idea whose', 'if False:\n        raise Conflict("an idea whose', TEST_API),
    Guard("what was asked to close stays", RULES, 'if idea["close_asked_at"] is not None:\n        asked', "if False:\n        asked", TEST_API),
    Guard("an undo gives the drafted levels back", RULES, "**unsettled, **levels}", "**unsettled}", TEST_API),
    Guard("an undo clears the open outcome", RULES, "**unsettled, **levels}", "**levels}", TEST_API),
    Guard("an undo is replayed on what it may change", TABLES, ' if kind == "decided" else f"target.{DECIDED_SQL} AND {unsettled}"', "", TEST_ADVICE),
    Guard("edits and approvals are written apart", TABLES, "for alike in _alike(rows))", "for alike in [[row['changes'] for row in rows]])", TEST_API + " tests/store"),
    Guard("nobody of a group is forgotten", GROUPED, "group = [call, *(other for other in self._waiting if other is not call)]", "group = [call]", "tests/store/test_grouped.py"),
    Guard("too many requests", "osiris/api/guards.py", "if not limiter.hit(item, client, str(known)):", "if False:", TEST_API),
    Guard("a moment is no number", "osiris/requests.py", "if numeric or isinstance(value, int | float):", "if False:", TEST_API),
    Guard("an answer is fresh", "osiris/api/ideas.py", """tag = f'W/"{advice.version}"'""", """tag = 'W/"1"'""", TEST_API),
    Guard("what was like it came before it", LISTING, '_similar(advice, row, f"{before} AND ', '_similar(advice, row, f"', TEST_API),
    Guard("no bar is later than the clock", LISTING, 'min(as_of, row["as_of"] + BARS_SINCE)', 'row["as_of"] + BARS_SINCE', TEST_API),
    Guard("bars in the idea's basis", LISTING, "factor = cumulative[-1] / cumulative[then]", "factor = 1.0", "tests/loop/test_listing.py"),
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
    Guard("the last picture asked for is shown", "osiris/ui/dossier.py", "wanted == self.wanted and self._put(shown)", "self._put(shown)", "tests/ui/test_dossier.py"),
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
    Guard("the entry must trade", TOUCH, "if low <= e <= h:", "if True:", TEST_TOUCH),
    Guard("a gap through the stop", TOUCH, "elif o <= x:", "elif o < -1e9:", TEST_TOUCH),
    Guard("a gap through the target", TOUCH, "elif o >= t:", "elif o > 1e9:", TEST_TOUCH),
    Guard("both levels in a bar are a loss", TOUCH, "elif low <= x:", "elif low <= x and h < t:", TEST_TOUCH),
    Guard("both levels in a bar are in doubt", TOUCH, "ambiguous[i] |= h >= t or cut", "ambiguous[i] |= cut", TEST_TOUCH),
    Guard("the order inside the filling bar", TOUCH, "h >= t and (o <= e or c >= t)", "h >= t", TEST_PATHS),
    Guard("a stop in the filling bar", TOUCH, "ambiguous[i] = target_maybe or not stop_sure or cut", "ambiguous[i] = target_maybe or cut", TEST_PATHS),
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
    Guard("the future is not seen", LINE, "columns.where(columns.end <= limit)", "columns.where(columns.end <= limit + 10**15)", TEST_LINE),
    Guard("a session without bars", LINE, "np.flatnonzero((sessions.closes <= sessions.limit) & ~covered[:-1])", "np.array([], np.int64)", TEST_LINE),
    Guard("a disputed session", LINE, "for d in disputes]", "for d in ()]", TEST_LINE),
    Guard("finer bars that contradict", LINE, "if run > begin and over and _contradict(", "if False and _contradict(", TEST_LINE),
    Guard("finer bars with a gap", LINE, "and bars.start[at] == expected:", ":", TEST_LINE),
    Guard("the gap of a session that is over", LINE, "if over and not whole and not (mine.sum() > 1):", "if False:", TEST_LINE),
    Guard("a jump like a split", LINE, "sessions, _jumps(chosen, sessions, [daily, *finer.values()]))", "sessions, (chosen.start[:0], chosen.end[:0]))", TEST_LINE),
    Guard("half days", "osiris/calendars.py", "np.minimum(at + MINUTES[interval] * MINUTE, closes[session])", "(at + MINUTES[interval] * MINUTE)", TEST_LINE),
    Guard("regular hours", "osiris/calendars.py", "(session >= 0) & (at < closes[session])", "(session >= 0)", TEST_LINE),
    Guard("an event after the close by hand", TOUCH, "if code == WIN and cut and not at_open[i]:", "if False:", TEST_TOUCH),
    Guard("a fill after the end", TOUCH, "filled[i] = not cut or o == e", "filled[i] = True", TEST_TOUCH),
    Guard("Yahoo must have been silent", JUDGE, "or not line.silent", "or False", TEST_JUDGE),
    Guard("a session under way at acceptance", "osiris/loop/doubts.py", "np.searchsorted(np.maximum.accumulate(self.end), moments", "np.searchsorted(self.start, moments", TEST_JUDGE),
    Guard("hours before a gap", JUDGE, "    if inside:\n", "    if False:\n", TEST_JUDGE),
    Guard("the basis of a draft in mid-session", CLAIMS, "np.where(session >= 0, np.append(line.closes, 0)[session], claims.as_of)", "claims.as_of", TEST_JUDGE),
    Guard("minutes within hours under way", LINE, "replaced = mine & (coarse.end <= fine.end[run - 1])", "replaced = mine & over", TEST_LINE),
    Guard("a confirmed jump", LINE, "found &= ~np.isin(np.searchsorted(sessions.opens, chosen.start, side=\"right\"), of_spoken)", "pass", TEST_LINE),
    Guard("minutes that could not be asked for", LOGGER, "return _held_back(verdicts, unasked)", "return verdicts", TEST_LOGGER),
    Guard("the split of today by the hour", YAHOO, "splits.reindex(days).fillna(1.0)", "splits.reindex(days[:0]).reindex(days).fillna(1.0)", TEST_YAHOO),
    Guard("bars settle before they are taken", YAHOO, "return datetime.now(UTC) - SETTLING", "return datetime.now(UTC)", TEST_YAHOO),
    Guard("an entry that the stream dropped", EVENTS, "self._asked(lambda: self._forget_dropped(group))", "pass", f"{TEST_EVENTS} --timeout 30"),
    Guard("any trouble of Redis", EVENTS, "except RedisError as error:", "except ZeroDivisionError as error:", TEST_EVENTS),
    Guard("what only the day shows", LINE, "day.low < hours.low.min()", "day.low < 0", TEST_JUDGE),
    Guard("hours stay whatever the minutes lack", LINE, "not (mine.sum() > 1)", "True", TEST_LINE),
    Guard("the basis of the last bar the model saw", CLAIMS, "np.where(claims.basis == NEVER, over, claims.basis)", "over", TEST_JUDGE),
    Guard("a misfit is no silence", FEED, "self._misfits.add(ticker)", "pass", TEST_PRICES),
    Guard("a list of disputes that cannot be read", BARS, "except (ValueError, TypeError, KeyError) as error:", "except ZeroDivisionError as error:", "tests/store/test_bars.py"),
    Guard("a day is that of its session", BARS, "[session_day(calendar, start) == day for start in frame[\"start\"]]", "list(frame[\"start\"].dt.strftime(\"%Y-%m-%d\") == day)", "tests/store/test_bars.py"),
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
    Guard("a person's word stands", MERGE, ' & ~is_confirmed(mine["source"])', "", "tests/store/test_bars.py"),
    Guard("high and low are compared", MERGE, '["close", "high", "low", "open"]', '["close"]', "tests/store/test_bars.py"),
    Guard("disputes are remembered", BARS, "    _note_disputes(path, [*standing, *merged.disagreements])", "    _note_disputes(path, [])", TEST_PRICES),
    Guard("who may end a dispute", BARS, "(d.start, d.offered_source) not in spoken", "d.start not in set(offered['start'])", "tests/store/test_bars.py"),
    Guard("a dispute outlives a failed correction", BARS, "_note_disputes(path, [*earlier, *merged.disagreements])", "_note_disputes(path, [*standing, *merged.disagreements])", "tests/store/test_bars.py"),
    Guard("a final outcome is final", ADVICE, "verdicts.filter(holds)", "verdicts", "tests/store/test_advice.py"),
    Guard("an event once", EVENTS, "if redis.call('HSETNX', KEYS[1], event[1], event[3]) == 1 then", "if redis.call('HSET', KEYS[1], event[1], event[3]) then", TEST_EVENTS),
    Guard("an acknowledged event survives a kill", EVENTS, '"appendonly": "yes"', '"appendonly": "no"', TEST_EVENTS),
    Guard("acknowledged after the reader's work", EVENTS, "            handle([json", "            self._redis.xack(OUTCOME, group, *[e for e, _ in entries])\n            handle([json", TEST_EVENTS),
    Guard("the basis of a labelled file", "osiris/loop/label.py", "return ideas.assign(basis_at=moved)", "return ideas", "tests/loop/test_label.py"),
    Guard("bad rows of a labelled file", "osiris/loop/label.py", "if not name or name in seen:", "if False:", "tests/loop/test_label.py"),
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
