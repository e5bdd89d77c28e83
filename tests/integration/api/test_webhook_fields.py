"""The one table of a webhook's fields, held against every copy written by hand elsewhere.

A field that is added to `FIELDS` alone, or to anything but `FIELDS`, fails here, in a sentence that
names the missing line and its place.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from api import dashboard_page
from api.schemas.webhooks import RegisteredWebhookOut, WebhookChangesIn, WebhookIn, WebhookOut
from cli import commands, webhook_options
from local import template
from support import samples
from webhooks.adapters.dynamodb import webhook_items
from webhooks.adapters.dynamodb.webhooks import SHOWN_ATTRIBUTES
from webhooks.domain.targets import check_url
from webhooks.domain.webhook import Registration, Webhook, WebhookSettings
from webhooks.domain.webhook_fields import (
    CHANGEABLE,
    FIELDS,
    READABLE,
    REGISTERED,
    Field,
    FieldKind,
    May,
    problems,
)
from webhooks.ports import WebhookChanges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.stores import Stores

KEY = ("account_id", "webhook_id")
SECRETS = {"secret", "previous_secret", "previous_secret_expires_at"}

VALUES: dict[str, tuple[Any, Any]] = {
    "url": ("https://one.example.com/", "https://two.example.com/"),
    "events": (("email.sent",), ("*",)),
    "active": (True, False),
    "headers": ({"X-Team": "mail", "X-B": "b"}, {"X-Team": "billing"}),
    "external_id": ("billing", "crm"),
    "metadata": ({"team": "billing", "a": "ä"}, {"team": "crm"}),
}
"""Two values of each field that is no plain text."""


def values_of(field: Field) -> tuple[Any, Any]:
    if field.kind is FieldKind.TEXT and field.name not in VALUES:
        return f"one {field.name}", f"another {field.name}"
    assert field.name in VALUES, f"add two values of {field.name} to VALUES in {__file__}"
    return VALUES[field.name]


def whole() -> Webhook:
    """Return a webhook with a value in every field that a new one may have."""
    given = {field.name: values_of(field)[0] for field in {*REGISTERED, *CHANGEABLE} if _own(field)}
    return replace(samples.webhook(), **given)


def _own(field: Field) -> bool:
    return field.kind is not FieldKind.SECRET


def attributes(wanted: Iterable[Field]) -> list[str]:
    return [attribute for field in wanted for attribute in field.attributes]


def in_template(sid: str) -> list[str]:
    """Return the attributes that a statement of the api's role names."""
    [policy] = template.load()["Resources"]["ApiRole"]["Properties"]["Policies"]
    [statement] = [one for one in policy["PolicyDocument"]["Statement"] if one.get("Sid") == sid]
    named: list[str] = statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    return named


def compare(where: str, found: Iterable[str], wanted: Iterable[str]) -> None:
    found, wanted = [*found], [*wanted]
    missing = [name for name in wanted if name not in found]
    assert not missing, f"add {', '.join(missing)} to {where}"
    surplus = [name for name in found if name not in wanted]
    assert not surplus, f"take {', '.join(surplus)} from {where}, or add it to FIELDS"


def test_a_webhook_and_the_table_have_the_same_fields() -> None:
    compare(
        "WebhookSettings in domain/webhook.py (with its default), or to Webhook where its owner "
        "cannot give it at registration",
        {field.name for field in fields(Webhook)} - {"account_id"},
        {field.python_name for field in FIELDS if _own(field)},
    )


def test_what_an_owner_gives_at_registration_is_in_the_settings() -> None:
    compare(
        "WebhookSettings in domain/webhook.py",
        {field.name for field in fields(WebhookSettings)},
        {field.name for field in REGISTERED if _own(field)},
    )
    assert {field.name for field in fields(Registration)} == {each.name for each in REGISTERED}


def test_only_a_field_that_not_every_webhook_has_may_be_cleared() -> None:
    for field in FIELDS:
        owners = field.may & (May.REGISTER | May.CHANGE)
        assert (May.CLEAR in field.may) <= (bool(owners) and not field.required), field.name
        optional = bool(owners) and not field.required and _own(field)
        assert optional <= (May.CLEAR in field.may), f"{field.name}: add May.CLEAR in FIELDS"


@pytest.mark.parametrize("field", CHANGEABLE, ids=lambda field: field.name)
def test_a_field_that_an_owner_writes_has_a_rule_and_a_sentence(field: Field) -> None:
    assert field.meaning.endswith("."), f"{field.name}: add its meaning in FIELDS"
    ruled = field.rule or field.max_length or field.kind in {FieldKind.URL, FieldKind.FLAG}
    assert ruled, f"{field.name}: add a rule or a max_length in FIELDS"
    if field.kind is FieldKind.TEXT:
        broken = {field.name: "x" * 5000}
        assert [one.field for one in problems(broken, check_url)] == [field.name]


@pytest.mark.parametrize("field", CHANGEABLE, ids=lambda field: field.name)
def test_what_is_changed_is_stored_under_the_fields_own_name(field: Field) -> None:
    # Therefore a changed attribute identifies the field that an owner changed.
    assert field.attributes == (field.name,)


def test_the_shapes_of_the_api_are_those_of_the_table() -> None:
    assert [*WebhookIn.model_fields] == [field.name for field in REGISTERED]
    assert [*WebhookChangesIn.model_fields] == [field.name for field in CHANGEABLE]
    assert [*WebhookOut.model_fields] == [field.shown_as for field in READABLE]
    for field in REGISTERED:
        optional = May.CLEAR in field.may or field.kind is FieldKind.SECRET
        assert WebhookIn.model_fields[field.name].is_required() is not optional
    new = set(RegisteredWebhookOut.model_fields) - {"secret"}
    assert new < set(WebhookOut.model_fields)
    assert {field.shown_as for field in REGISTERED if _own(field)} <= new


@pytest.mark.parametrize("field", CHANGEABLE, ids=lambda field: field.name)
def test_null_clears_what_the_table_says_and_nothing_else(field: Field) -> None:
    body = {field.name: None}
    if May.CLEAR in field.may:
        assert dict(WebhookChangesIn.model_validate(body).changes()) == {field.name: field.empty}
    else:
        with pytest.raises(ValueError, match=field.name):
            WebhookChangesIn.model_validate(body)


def test_an_empty_text_is_no_way_to_clear_what_is_never_empty() -> None:
    filled = [field.name for field in FIELDS if field.filled]
    assert filled == ["external_id"]
    for shape in (WebhookIn, WebhookChangesIn):
        body = {"url": "https://hooks.example.com/", "events": ["*"], "external_id": ""}
        with pytest.raises(ValueError, match="external_id"):
            shape.model_validate(body)


def test_what_no_owner_may_change_is_refused_as_a_change() -> None:
    for field in {*FIELDS} - {*CHANGEABLE}:
        with pytest.raises(TypeError, match=field.name):
            WebhookChanges(**{field.name: "x"})


def test_every_field_comes_back_from_a_store(stores: Stores) -> None:
    stores.webhooks.create(whole(), samples.SECRET, limit=5)
    assert stores.webhooks.get("acc_1", whole().id) == whole()
    assert stores.webhooks.page("acc_1", 5).items == [whole()]
    [destination] = stores.destinations.destinations("acc_1")
    assert destination.webhook == whole()


@pytest.mark.parametrize("field", CHANGEABLE, ids=lambda field: field.name)
def test_every_field_is_changed_alone_and_cleared(stores: Stores, field: Field) -> None:
    later_ms = samples.NOW_MS + 5
    stores.webhooks.create(whole(), samples.SECRET, limit=5)
    values = [values_of(field)[1], *([field.empty] if May.CLEAR in field.may else [])]
    for value in values:
        changes = WebhookChanges(**{field.name: value})
        changed = stores.webhooks.update("acc_1", whole().id, changes, later_ms)
        assert changed == replace(whole(), updated_at_ms=later_ms, **{field.name: value})
        assert stores.webhooks.get("acc_1", whole().id) == changed


@pytest.mark.parametrize("field", CHANGEABLE, ids=lambda field: field.name)
def test_what_is_cleared_is_not_in_the_item(field: Field) -> None:
    if field.kind is FieldKind.FLAG or May.CLEAR not in field.may:
        return
    bare = replace(whole(), **{field.name: field.empty})
    assert field.name not in webhook_items.webhook_item(bare, samples.SECRET)
    changes = WebhookChanges(**{field.name: field.empty})
    assert webhook_items.changed_attributes(changes) == {}
    assert webhook_items.cleared_attributes(changes) == [field.name]


def test_an_item_has_what_the_table_says_of_a_new_webhook() -> None:
    item = webhook_items.webhook_item(whole(), samples.SECRET)
    created = [field for field in FIELDS if field.is_created]
    assert {*item} == {"account_id", *attributes(created)}


def test_the_role_reads_every_attribute_that_an_owner_may_read_and_no_other() -> None:
    assert ("account_id", *attributes(READABLE)) == SHOWN_ATTRIBUTES
    where = "ReadWebhooksWithoutSecrets of ApiRole in template.yaml"
    compare(where, in_template("ReadWebhooksWithoutSecrets"), SHOWN_ATTRIBUTES)
    assert not SECRETS & {*SHOWN_ATTRIBUTES}


def test_the_role_writes_every_attribute_of_a_new_webhook_and_no_other() -> None:
    created = attributes(field for field in FIELDS if field.is_created)
    where = "RegisterWebhooks of ApiRole in template.yaml"
    compare(where, in_template("RegisterWebhooks"), ("account_id", *created))


def test_the_role_changes_every_attribute_that_a_change_may_name_and_no_other() -> None:
    changed = attributes(field for field in FIELDS if field.is_changed)
    others = (
        *webhook_items.FAILURE_ATTRIBUTES,
        *webhook_items.WINDOW_ATTRIBUTES,
        webhook_items.TARGET_CHANGED,
        *webhook_items.RECOVERY_ATTRIBUTES,
        "webhook_count",
    )
    where = "ChangeAndDeleteWebhooks of ApiRole in template.yaml"
    compare(where, in_template("ChangeAndDeleteWebhooks"), {"account_id", *changed, *others})


@pytest.mark.parametrize("field", CHANGEABLE, ids=lambda field: field.name)
def test_the_command_line_changes_and_clears_every_field(field: Field) -> None:
    if field.kind is FieldKind.FLAG:
        return  # By commands of its own, enable and disable.
    option = "--header" if field.kind is FieldKind.HEADERS else f"--{field.name.replace('_', '-')}"
    word, value = {
        FieldKind.NAMES: ("email.sent, email.opened", ["email.sent", "email.opened"]),
        FieldKind.HEADERS: ("a=b=c", {"a": "b=c"}),
        FieldKind.PAIRS: ("a=b=c", {"a": "b=c"}),
    }.get(field.kind, ("text", "text"))
    parser = commands.parser()
    changes = webhook_options.given(parser.parse_args(["edit", "x", option, word]))
    assert changes == {field.name: value}, f"take {field.kind} in cli/webhook_options.py"
    if field.kind is not FieldKind.URL:
        created = webhook_options.given(parser.parse_args(["create", "url", option, word]))
        assert created == {"url": "url", "events": ["*"]} | changes
    if May.CLEAR in field.may:
        cleared = parser.parse_args(["edit", "x", "--clear", field.name])
        assert webhook_options.given(cleared) == {field.name: None}


def test_the_dashboard_shows_and_edits_every_field() -> None:
    files = dashboard_page.files()
    data = json.loads(files["fields.js"].text.partition("FIELDS = ")[2].rstrip(";\n"))
    made = [each["name"] for each in data]
    by_hand = {
        "url": "forms.js",
        "events": "forms.js",
        "headers": "forms.js",
        "active": "webhook.js",
    }
    for field in CHANGEABLE:
        assert (field.name in made) is not (field.name in by_hand), (
            f"edit {field.kind} by its kind in functions/api/dashboard_page.py and forms.js"
        )
    for name, file in by_hand.items():
        assert re.search(rf"\b{name}\b", files[file].text)


def test_the_documents_name_every_field_that_an_owner_writes() -> None:
    contract = Path("docs/contract.md").read_text(encoding="utf-8").partition("### 2.2")[2]
    named = {*re.findall(r"[a-z_]+", contract)}
    for field in {*REGISTERED, *CHANGEABLE}:
        assert field.name in named, f"describe {field.name} in docs/contract.md 2.2"


def test_metadata_comes_back_in_the_order_it_was_given_in(stores: Stores) -> None:
    metadata = {"zone": "eu", "team": "billing", "Alpha": "1"}
    webhook = samples.webhook(metadata=metadata)
    stores.webhooks.create(webhook, samples.SECRET, limit=50)
    found = stores.webhooks.get("acc_1", webhook.id)
    assert found is not None
    assert [*found.metadata] == [*metadata]
    [destination] = stores.destinations.destinations("acc_1")
    assert [*destination.webhook.metadata] == [*metadata]
