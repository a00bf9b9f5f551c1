"""Markets and ideas as the policy may meet them, drawn by Hypothesis."""

from hypothesis import strategies as st

from osiris.policy.contracts import WARM_UP_BARS, PolicyInput

distances = st.floats(0.05, 20, exclude_min=True)
fractions = st.floats(0, 1)
feature_values = st.floats(-30, 30)


@st.composite
def markets(draw):
    """High, low and close of `WARM_UP` to 100 bars that move, and their scale."""
    count = draw(st.integers(WARM_UP_BARS, 100))
    steps = draw(st.lists(st.floats(-3, 3), min_size=count, max_size=count))
    reach = draw(st.lists(st.floats(0, 2), min_size=count, max_size=count))
    close = [500.0]
    for step in steps[1:]:
        close.append(close[-1] + step)
    high = [c + r + 0.01 for c, r in zip(close, reach, strict=True)]
    low = [c - r - 0.01 for c, r in zip(close, reach, strict=True)]
    return high, low, close, draw(st.floats(0.05, 20))


@st.composite
def policy_inputs(draw):
    """Any idea that the schema of a reply allows, with the features that the shipped prompt shows."""
    features = {name: draw(feature_values) for name in ("momentum", "rsi", "last")}
    side, hermes = draw(st.sampled_from((1, -1))), draw(st.none() | fractions)
    return PolicyInput(side, draw(distances), draw(distances), draw(fractions), hermes, features)
