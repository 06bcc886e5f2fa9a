from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xray_hpc.launching.preflight.node_fit import matches

FEATURES = st.lists(st.sampled_from("abcd"), unique=True).map(frozenset)
EXPRESSIONS = st.recursive(
    st.sampled_from("abcd"),
    lambda inner: st.tuples(inner, st.sampled_from("&|"), inner).map(lambda t: f"({''.join(t)})"),
    max_leaves=6,
)


@given(EXPRESSIONS, FEATURES)
def test_matches_accepts_every_node_that_satisfies_the_constraint(
    constraint: str, features: frozenset[str]
) -> None:
    truth = "".join(str(c in features) if c in "abcd" else c for c in constraint)
    if eval(truth):
        assert matches(constraint, features)
