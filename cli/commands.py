"""The command line's parser and its commands."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from cli import arguments, jobs, tables, webhook_options
from cli.client import (
    KEY_VARIABLE,
    URL_VARIABLE,
    ApiClient,
    ApiClientError,
    NotConfiguredError,
    find_access,
)
from cli.listen import listen
from cli.screen import Screen, cell
from webhooks import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECRET_VARIABLE = "SENDCOMMS_WEBHOOK_SECRET"  # noqa: S105  where to look for one
_HINTS = {"overlap_running": "Add --force to rotate anyway."}
"""Advice in command-line words, by the code of an error whose message names an API field."""

_REPLAYABLE = ("exhausted", "waiting", "retrying", "succeeded")
_STATUSES = ("pending", "retrying", "waiting", "succeeded", "exhausted", "cancelled")


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 for a failure, or 2 for wrong usage.

    A check also fails if the receiver is not verified, a replay if a delivery did not arrive.
    """
    options = parser().parse_args(words)
    screen = Screen(sys.stdout, os.environ, as_json=options.json)
    try:
        api = ApiClient(find_access(os.environ))
        run: Callable[[ApiClient, Screen, argparse.Namespace], int | None] = options.run
        return run(api, screen, options) or 0
    except NotConfiguredError as error:
        _complain(str(error))
        return 2
    except ApiClientError as error:
        _complain(f"{error} ({error.code})")
        for detail in error.details:
            print(f"  {cell(detail['field'])}: {cell(detail['message'])}", file=sys.stderr)
        if error.code in _HINTS:
            _complain(_HINTS[error.code])
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has stopped, for example `| head`: nothing more may be written, even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    root = argparse.ArgumentParser(
        prog="webhooks",
        description="Manage an account's webhooks and their deliveries.",
        epilog=f"The API's address is in {URL_VARIABLE} and your key in {KEY_VARIABLE}; without "
        "them, the stack of `make run` is used.",
    )
    root.add_argument("--version", action="version", version=f"webhooks {VERSION}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON, for scripts")
    commands = root.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[shared])
        made.set_defaults(run=run)
        return made

    command("list", _list, "List the webhooks, newest first.")
    create = command("create", _create, "Register a webhook; its secret is shown only this once.")
    create.add_argument("url", metavar="URL")
    webhook_options.add_to_create(create)
    edit = command("edit", _edit, "Change a webhook; omitted options keep their values.")
    _add_ids(edit)
    webhook_options.add_to_edit(edit)
    show = command("show", _show, "Show a webhook, or one of its deliveries with its attempts.")
    _add_ids(show)
    show.add_argument("delivery", metavar="DELIVERY", type=arguments.identifier, nargs="?")
    _add_ids(command("delete", _delete, "Delete a webhook."))
    _add_ids(command("enable", _enable, "Enable a webhook; its waiting deliveries are sent."))
    _add_ids(command("disable", _disable, "Disable a webhook; its events wait."))
    rotate = command("rotate", _rotate, "Rotate a secret; the new one is shown only this once.")
    _add_ids(rotate)
    rotate.add_argument(
        "--overlap",
        type=arguments.whole,
        metavar="SECONDS",
        help="how long the old secret stays valid",
    )
    rotate.add_argument(
        "--force",
        action="store_true",
        help="rotate even while the last rotation's old secret is valid",
    )
    test = command("test", _test, "Send a sample event to a webhook.")
    _add_ids(test)
    test.add_argument("event", metavar="EVENT", help="an event type, for example email.bounced")
    check = command("check", jobs.check, "Test a receiver with genuine and forged requests.")
    _add_ids(check)
    _add_replays(command)
    erase = command("erase", jobs.erase, "Erase every stored payload that mentions an address.")
    erase.add_argument(
        "address", metavar="ADDRESS", help="a recipient's address, for example anna@example.com"
    )
    erase.add_argument("--no-wait", action="store_true", help="return without waiting for the end")
    erase.add_argument(
        "--include-unsearched",
        action="store_true",
        help="also erase payloads that take too long to search",
    )
    command("events", _events, "List the event types.")
    _add_publish(command)
    log = command("deliveries", _deliveries, "List a webhook's deliveries, newest first.")
    _add_ids(log)
    log.add_argument("--status", choices=_STATUSES)
    log.add_argument("--event", help="only events of this type")
    log.add_argument(
        "--since", metavar="TIME", help="events from this time on, for example 2025-12-21T10:30:00Z"
    )
    log.add_argument("--until", metavar="TIME")
    log.add_argument(
        "--limit",
        type=arguments.positive,
        default=50,
        help="maximum number of deliveries; default: 50",
    )
    resend = command("resend", _resend, "Make one more attempt of a delivery.")
    _add_ids(resend)
    resend.add_argument("delivery", metavar="DELIVERY", type=arguments.identifier)
    _add_listen(command)
    return root


def _add_publish(command: Callable[..., argparse.ArgumentParser]) -> None:
    publish = command("publish", _publish, "Publish an event, and show how many webhooks get it.")
    publish.add_argument("event", metavar="EVENT", help="an event type, for example email.bounced")
    publish.add_argument("--to", metavar="ADDRESS", required=True, help="the email's recipient")
    publish.add_argument("--subject", help="the email's subject")


def _add_listen(command: Callable[..., argparse.ArgumentParser]) -> None:
    listen = command(
        "listen", _listen, "Print deliveries as they arrive; forward them to a local port."
    )
    listen.add_argument(
        "webhook",
        metavar="WEBHOOK",
        type=arguments.identifier,
        nargs="?",
        help="the webhook's id; default: all",
    )
    listen.add_argument(
        "--forward",
        metavar="PORT[/PATH]",
        type=arguments.local_url,
        help="forward each delivery to http://127.0.0.1:PORT/PATH",
    )
    listen.add_argument("--secret", help=f"the secret to sign with; default: {SECRET_VARIABLE}")
    listen.add_argument(
        "--header",
        dest="headers",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=arguments.header,
        help="one of the webhook's own headers; may be repeated",
    )
    listen.add_argument("--interval", type=arguments.interval, default=1.0, metavar="SECONDS")


def _add_replays(command: Callable[..., argparse.ArgumentParser]) -> None:
    replay = command(
        "replay", jobs.replay, "Send the deliveries of a period again, and show progress."
    )
    _add_ids(replay)
    replay.add_argument(
        "--since",
        metavar="TIME",
        required=True,
        help="events from this time on, for example 2025-12-21T10:30:00Z",
    )
    replay.add_argument("--until", metavar="TIME", help="events up to this time; default: now")
    replay.add_argument(
        "--status",
        choices=_REPLAYABLE,
        help="only deliveries with this status; default: all that have not arrived",
    )
    replay.add_argument("--no-wait", action="store_true", help="return without waiting for the end")
    _add_ids(command("replays", _replays, "List a webhook's replays, newest first."))
    cancel = command("cancel", _cancel, "Cancel a replay that is running.")
    _add_ids(cancel)
    cancel.add_argument("replay", metavar="REPLAY", type=arguments.identifier)


def _list(api: ApiClient, screen: Screen, _: argparse.Namespace) -> None:
    found = [webhook for page in api.pages("/webhooks") for webhook in page.data]
    tables.webhooks(screen, found)


def _create(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    tables.secret(screen, api.call("POST", "/webhooks", body=webhook_options.given(options)))


def _edit(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    path = f"/webhooks/{options.webhook}"
    tables.thing(screen, api.call("PATCH", path, body=webhook_options.given(options)).data)


def _show(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    if options.delivery is None:
        tables.thing(screen, api.get(f"/webhooks/{options.webhook}"))
        return
    path = f"/webhooks/{options.webhook}/deliveries/{options.delivery}"
    tables.delivery(screen, api.get(path))


def _delete(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    tables.thing(screen, api.call("DELETE", f"/webhooks/{options.webhook}").data)


def _enable(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    _set_active(api, screen, options, active=True)


def _disable(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    _set_active(api, screen, options, active=False)


def _set_active(
    api: ApiClient, screen: Screen, options: argparse.Namespace, *, active: bool
) -> None:
    changed = api.call("PATCH", f"/webhooks/{options.webhook}", body={"active": active})
    tables.thing(screen, changed.data)


def _rotate(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    body: dict[str, Any] = {"force": True} if options.force else {}
    if options.overlap is not None:
        body["overlap_seconds"] = options.overlap
    path = f"/webhooks/{options.webhook}/rotate-secret"
    tables.secret(screen, api.call("POST", path, body=body))


def _test(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    path = f"/webhooks/{options.webhook}/test"
    tables.delivery(screen, api.call("POST", path, body={"event": options.event}).data)


def _events(api: ApiClient, screen: Screen, _: argparse.Namespace) -> None:
    tables.event_types(screen, api.get("/event-types"))


def _publish(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    data = {"to": options.to} | ({"subject": options.subject} if options.subject else {})
    body = {"event": options.event, "data": data}
    tables.thing(screen, api.call("POST", "/events", body=body).data)


def _deliveries(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    names = ("status", "event", "since", "until")
    query = {name: value for name in names if (value := getattr(options, name)) is not None}
    found: list[dict[str, Any]] = []
    more = False
    for page in api.pages(f"/webhooks/{options.webhook}/deliveries", **query):
        found += page.data
        more = len(found) > options.limit or page.next_cursor is not None
        if len(found) >= options.limit:
            break
    tables.deliveries(screen, found[: options.limit])
    if more:
        print(
            f"There may be more. Raise --limit, now {options.limit}, to list them.", file=sys.stderr
        )


def _resend(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    path = f"/webhooks/{options.webhook}/deliveries/{options.delivery}/resend"
    tables.delivery(screen, api.call("POST", path).data)


def _replays(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    pages = api.pages(f"/webhooks/{options.webhook}/replays")
    tables.replays(screen, [replay for page in pages for replay in page.data])


def _cancel(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:
    path = f"/webhooks/{options.webhook}/replays/{options.replay}"
    tables.thing(screen, api.call("DELETE", path).data)


def _listen(api: ApiClient, screen: Screen, options: argparse.Namespace) -> None:

    secret = options.secret or os.environ.get(SECRET_VARIABLE) or None
    listen(
        api,
        screen,
        sys.stderr,
        webhook_id=options.webhook,
        url=options.forward,
        secret=secret,
        headers=dict(options.headers),
        interval_seconds=options.interval,
    )


def _add_ids(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "webhook", metavar="WEBHOOK", type=arguments.identifier, help="the webhook's id"
    )


def _complain(text: str) -> None:
    print(f"webhooks: {cell(text)}", file=sys.stderr)
