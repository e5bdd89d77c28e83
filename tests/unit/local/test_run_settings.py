"""The settings of the stack on one machine that the environment may choose."""

from __future__ import annotations

import pytest

from local.run import WrongSettingError, _parameters


def test_the_environment_chooses_parameters_of_the_template() -> None:
    environment = {
        "RETRY_SCHEDULE": "1,2",
        "MAX_EVENTS_PER_MINUTE": "0",
        "MAX_REQUESTS_PER_HOST": "5",
        "DOCS_PAGE": "false",
        "PATH": "/bin",
    }
    assert _parameters(environment) == {
        "RetrySchedule": "1,2",
        "MaxEventsPerMinute": "0",
        "MaxRequestsPerHost": "5",
        "DocsPage": "false",
    }
    assert _parameters({}) == {}


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("RETRY_SCHEDULE", "soon", "delays in whole seconds"),
        ("MAX_EVENTS_PER_MINUTE", "many", "whole number from 0 to 100000000"),
        ("MAX_REQUESTS_PER_HOST", "-1", "whole number from 0 to 100000"),
        ("MAX_REQUESTS_PER_HOST", "100001", "whole number from 0 to 100000"),
        ("DOCS_PAGE", "no", "true or false"),
    ],
)
def test_a_value_that_the_template_does_not_allow_is_refused(
    variable: str, value: str, complaint: str
) -> None:
    with pytest.raises(WrongSettingError, match=complaint):
        _parameters({variable: value})
