"""What must hold of the risk filter of every policy."""

from hypothesis import given

from osiris.policy.contracts import HARD_MAX_STOP_ATR, HARD_MIN_REWARD_TO_RISK, PolicyInput
from osiris.policy.tests.ideas import policy_inputs

GOOD_INPUT = PolicyInput(1, 3.0, 1.0, 0.9, 1.0, {"momentum": 1.0, "rsi": 10.0, "last": 0.5})


@given(policy_inputs())
def test_every_idea_gets_the_same_answer_again(policy, idea):
    assert policy.passes(idea) is policy.passes(idea)


@given(policy_inputs())
def test_no_idea_beyond_the_limits_passes(policy, idea):
    if idea.stop_atr > HARD_MAX_STOP_ATR or idea.target_atr / idea.stop_atr < HARD_MIN_REWARD_TO_RISK:
        assert not policy.passes(idea)


def test_something_passes(policy):
    """A risk filter that passes nothing would never lose, and never win."""
    assert policy.passes(GOOD_INPUT) or policy.passes(GOOD_INPUT._replace(side=-1))


def test_an_idea_without_a_score_or_known_features_is_decided_on(policy):
    assert policy.passes(GOOD_INPUT._replace(hermes=None, features={})) in (True, False)
