"""What the risk gate of any policy has to keep to, whoever wrote it."""

from hypothesis import given

from osiris.policy.contracts import MAX_STOP_ATR, MIN_REWARD_TO_RISK, Sketch
from osiris.policy.tests.ideas import sketches

GOOD = Sketch(1, 3.0, 1.0, 0.9, 1.0, {"momentum": 1.0, "rsi": 10.0, "last": 0.5})


@given(sketches())
def test_every_idea_gets_the_same_answer_again(policy, idea):
    assert policy.passes(idea) is policy.passes(idea)


@given(sketches())
def test_no_idea_beyond_the_limits_passes(policy, idea):
    if idea.stop_atr > MAX_STOP_ATR or idea.target_atr / idea.stop_atr < MIN_REWARD_TO_RISK:
        assert not policy.passes(idea)


def test_something_passes(policy):
    """A gate that lets nothing through would make no loss, and nothing else either."""
    assert policy.passes(GOOD) or policy.passes(GOOD._replace(side=-1))


def test_an_idea_without_a_score_or_known_features_is_decided_on(policy):
    assert policy.passes(GOOD._replace(hermes=None, features={})) in (True, False)
