"""The policy under test: the shipped one in this process, or a candidate that answers from its sandbox."""

import pytest

from osiris.policy import ShippedPolicy


@pytest.fixture(scope="session")
def policy(request):
    if request.config.pluginmanager.has_plugin("osiris.kernel.candidate"):
        return request.getfixturevalue("candidate")
    return ShippedPolicy()
