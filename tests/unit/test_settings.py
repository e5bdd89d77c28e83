from __future__ import annotations

import pytest

from webhooks.domain.retry import DEFAULT_SCHEDULE
from webhooks.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings.retry_schedule == DEFAULT_SCHEDULE
    assert settings.default_account_id == "default"
    assert settings.aws_endpoint_url is None


def test_headers_are_names_with_commas_between() -> None:
    settings = Settings.from_environment({"SES_HEADERS": "X-Order-Id, List-Id,"})
    assert settings.ses_headers == ("X-Order-Id", "List-Id")
    assert Settings.from_environment({"SES_HEADERS": ""}).ses_headers == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "a month"),
        ("MAX_WEBHOOKS_PER_ACCOUNT", "-1"),
        ("DEFAULT_ACCOUNT_ID", "team#1"),
        ("DEFAULT_ACCOUNT_ID", "x" * 65),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.from_environment({name: text})


def test_a_wrong_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="schedule"):
        Settings.from_environment({"RETRY_SCHEDULE": "soon"})


def test_the_settings_text_shows_no_key() -> None:
    assert "canary" not in repr(Settings.from_environment({"CURSOR_KEY": "canary"}))


@pytest.mark.parametrize("name", ["MAX_EVENTS_PER_MINUTE", "MAX_REQUESTS_PER_HOST"])
def test_a_limit_of_nought_is_none(name: str) -> None:
    settings = Settings.from_environment({name: "0"})
    assert getattr(settings, name.lower()) == 0
    for text in ("-1", "1.5", "many"):
        with pytest.raises(ValueError, match=name):
            Settings.from_environment({name: text})


def test_the_page_of_documentation_is_there_or_not() -> None:
    assert Settings.from_environment({}).docs_page
    assert not Settings.from_environment({"DOCS_PAGE": "false"}).docs_page
