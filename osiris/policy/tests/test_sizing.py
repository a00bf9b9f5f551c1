"""What must hold of the sizing of every policy."""

from hypothesis import given

from osiris.policy.contracts import MAX_RISK
from osiris.policy.tests.ideas import policy_inputs
from osiris.policy.tests.test_gate import GOOD_INPUT


@given(policy_inputs())
def test_no_idea_risks_more_than_the_limit(policy, idea):
    assert 0 <= policy.size(idea) <= MAX_RISK


@given(policy_inputs())
def test_every_idea_gets_the_same_size_again(policy, idea):
    assert policy.size(idea) == policy.size(idea)


def test_something_is_risked(policy):
    assert policy.size(GOOD_INPUT) > 0 or policy.size(GOOD_INPUT._replace(side=-1)) > 0


def test_an_idea_without_a_score_or_known_features_has_a_size(policy):
    assert 0 <= policy.size(GOOD_INPUT._replace(hermes=None, features={})) <= MAX_RISK
