"""One idea in the Advisory tab: its cells, its buttons, and the form of an edit.

What a model or a person wrote is shown by `Text` and `Label` alone, and to a Label only after `plain`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import ipywidgets as widgets
from pydantic import ValidationError

from osiris.errors import BadInput
from osiris.loop.review import adjusted_levels
from osiris.records import Feedback, FeedbackType, Levels, Status

Idea = dict[str, Any]
Decide = Callable[["IdeaRow", FeedbackType, dict[str, Any]], None]
WIDTHS = {
    "ticker": 70, "side": 50, "entry": 80, "target": 80, "stop": 80, "R:R": 50, "Hermes": 60, "confidence": 80,
    "adapter": 110, "as of": 130, "status": 80,
}  # fmt: skip
LEVELS = ("entry", "target", "stop")
EDITABLE = (*LEVELS, "confidence")


class IdeaRow(widgets.VBox):
    """One idea: `cells` by column, the buttons, the edit form, and in `note` what became of the last decision."""

    def __init__(self, idea: Idea, decide: Decide, send: Callable[["IdeaRow"], None]) -> None:
        """Show `idea`; `decide` is called with each decision, `send` to try a kept one again."""
        self.decide = decide
        self.cells = {name: label("", width) for name, width in WIDTHS.items()}
        self.rationale = widgets.Text(disabled=True, layout=widgets.Layout(flex="1 1 auto"))
        self.approve = button("✅ Approve", lambda: decide(self, FeedbackType.APPROVAL, {}))
        self.reject = button("❌ Reject", lambda: decide(self, FeedbackType.REJECTION, {}))
        self.edit = button("✏️ Edit", self.open_form)
        self.send_again = button("📨 Send again", lambda: send(self))
        self.note, self.form = widgets.Label(), widgets.VBox()
        buttons = widgets.HBox([self.approve, self.reject, self.edit, self.rationale])
        below = widgets.HBox([self.send_again, self.note])
        super().__init__([widgets.HBox(list(self.cells.values())), buttons, self.form, below])
        self.show(idea)

    def show(self, idea: Idea, note: str = "") -> None:
        """Show the idea as the server has it; only a pending one can be decided on."""
        self.idea, self.note.value, self.rationale.value = idea, plain(note), idea["rationale"]
        for name, text in _cells(idea).items():
            self.cells[name].value = plain(text)
        self._offer(decisions=idea["status"] == Status.PENDING, again=False)
        self.form.children = ()

    def wait(self, reason: str) -> None:
        """Say that the decision is kept here but not saved."""
        self.note.value = plain(f"Not saved yet: {reason} The decision is kept here; press Send again.")
        self._offer(decisions=False, again=True)

    def open_form(self) -> None:
        """Open the fields of an edit."""
        self.form.children = (EditForm(self),)

    def _offer(self, decisions: bool, again: bool) -> None:
        for button in (self.approve, self.reject, self.edit):
            button.disabled = not decisions
        self.send_again.layout.display = "" if again else "none"
        for form in self.form.children:
            form.check()


class EditForm(widgets.VBox):
    """The fields of an edit, checked at every key stroke by the rules of the server; `message` says what is wrong."""

    def __init__(self, row: IdeaRow) -> None:
        """Start from the idea of `row` as it stands."""
        self.row = row
        self.fields = {n: widgets.FloatText(row.idea[n], description=n, continuous_update=True) for n in EDITABLE}
        self.comment = widgets.Text(description="comment", continuous_update=True)
        self.save = button("💾 Save", self.submit)
        self.cancel = button("Cancel", self.close_form)
        self.message = widgets.Label()
        for field in (*self.fields.values(), self.comment):
            field.observe(lambda _: self.check(), "value")
        fields = widgets.HBox([*self.fields.values(), self.comment], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([fields, widgets.HBox([self.save, self.cancel, self.message])])
        self.check()

    @property
    def content(self) -> dict[str, Any]:
        """What was changed, and the comment."""
        changed = {n: field.value for n, field in self.fields.items() if field.value != self.row.idea[n]}
        return changed | ({"comment": self.comment.value} if self.comment.value else {})

    def check(self) -> None:
        """Say what is wrong, or what the edit comes to; an edit that the server would refuse cannot be saved."""
        body = {
            "transaction_id": self.row.idea["id"],
            "feedback_type": FeedbackType.HUMAN_EDIT,
            "feedback_content": self.content,
            "timestamp": self.row.idea["as_of"],
        }
        try:
            levels = adjusted_levels(self.row.idea, Feedback.model_validate(body))
            text, wrong = f"reward to risk {levels.reward_to_risk:.2f}", False
        except ValidationError as error:
            first = error.errors()[0]
            text, wrong = f"{first['loc'][-1] if first['loc'] else 'edit'}: {first['msg']}", True
        except BadInput as error:
            text, wrong = str(error), True
        self.message.value = plain(text.replace("Value error, ", ""))
        self.save.disabled = wrong or self.row.edit.disabled

    def submit(self) -> None:
        """Send the edit."""
        self.row.decide(self.row, FeedbackType.HUMAN_EDIT, self.content)

    def close_form(self) -> None:
        """Leave the idea as it is."""
        self.row.form.children = ()


def label(text: str, width: int, bold: bool = False) -> widgets.Label:
    """A Label of `width` pixels."""
    return widgets.Label(text, style={"font_weight": "bold" if bold else ""}, layout=widgets.Layout(width=f"{width}px"))


def button(text: str, act: Callable[[], None]) -> widgets.Button:
    """A button that calls `act`, unless it is disabled: the second click of two may be under way already."""
    made = widgets.Button(description=text, layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: None if made.disabled else act())
    return made


def plain(text: str) -> str:
    """`text` for a Label, which would typeset what stands between dollars or behind a backslash as TeX."""
    return text.replace("$", "＄").replace("\\", "＼")


def _cells(idea: Idea) -> dict[str, str]:
    levels = Levels(side=idea["side"], **{name: idea[name] for name in LEVELS})
    hermes, moment = idea["hermes_score"], datetime.fromisoformat(idea["as_of"])
    return {
        "ticker": idea["ticker"],
        "side": idea["side"],
        **{name: f"{idea[name]:,.2f}" for name in LEVELS},
        "R:R": f"{levels.reward_to_risk:.2f}",
        "Hermes": "–" if hermes is None else f"{hermes:.1f}",
        "confidence": f"{idea['confidence']:.2f}",
        "adapter": idea["adapter"],
        "as of": f"{moment:%Y-%m-%d %H:%M}",
        "status": idea["status"],
    }
