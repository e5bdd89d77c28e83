"""The command line: what there is to say, and what each command does."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.cli import tables
from local.cli.client import KEY_VARIABLE, URL_VARIABLE, Api, ApiError, NotConfigured, find_access
from local.cli.screen import Screen, cell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECRET_VARIABLE = "SENDCOMMS_WEBHOOK_SECRET"  # noqa: S105  where to look for one
_CORE = Path(__file__).parents[2] / "layers" / "core"
_STATUSES = ("pending", "retrying", "waiting", "succeeded", "exhausted", "cancelled")
_LOCAL_ADDRESS = re.compile(r"(?:(?:http://)?(?:127\.0\.0\.1|localhost):)?([0-9]{1,5})(/[!-~]*)?")
_CHECK_PATIENCE_SECONDS, _CHECK_POLL_SECONDS = 60.0, 0.5
_MIN_INTERVAL_SECONDS, _MAX_INTERVAL_SECONDS = 0.2, 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns 0, 1 where it failed, or 2 for wrong usage.

    A check fails too where the receiver is not verified.
    """
    options = parser().parse_args(arguments)
    screen = Screen(sys.stdout, os.environ, as_json=options.json)
    try:
        api = Api(find_access(os.environ))
        run: Callable[[Api, Screen, argparse.Namespace], int | None] = options.run
        return run(api, screen, options) or 0
    except NotConfigured as error:
        _complain(str(error))
        return 2
    except ApiError as error:
        _complain(f"{error} ({error.code})")
        for detail in error.details:
            print(f"  {cell(detail['field'])}: {cell(detail['message'])}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has enough, as `| head` has; nothing may be written any more, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parser() -> argparse.ArgumentParser:
    """Return all that the command line understands."""
    root = argparse.ArgumentParser(
        prog="webhooks",
        description="Manage an account's webhooks and their deliveries.",
        epilog=f"The API's address is in {URL_VARIABLE} and your key in {KEY_VARIABLE}; without "
        "them, the stack of `make run` is used.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="answer in JSON, for scripts")
    commands = root.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[shared])
        made.set_defaults(run=run)
        return made

    command("list", _list, "List the webhooks, newest first.")
    create = command("create", _create, "Register a webhook; its secret is shown this once.")
    create.add_argument("url", metavar="URL")
    create.add_argument("--events", default="*", help="types with commas between; else all")
    create.add_argument("--secret", help="a secret of your own; else one is generated")
    create.add_argument("--description")
    create.add_argument("--header", action="append", metavar="NAME=VALUE", type=_header)
    show = command("show", _show, "Show a webhook, or one of its deliveries with its attempts.")
    _add_ids(show)
    show.add_argument("delivery", metavar="DELIVERY", type=_id, nargs="?")
    _add_ids(command("delete", _delete, "Delete a webhook."))
    _add_ids(command("enable", _enable, "Switch a webhook on."))
    _add_ids(command("disable", _disable, "Switch a webhook off."))
    rotate = command("rotate", _rotate, "Rotate a secret; the new one is shown this once.")
    _add_ids(rotate)
    rotate.add_argument("--overlap", type=int, metavar="SECONDS", help="how long the old one lives")
    test = command("test", _test, "Have a sample event delivered.")
    _add_ids(test)
    test.add_argument("event", metavar="EVENT", help="a type, as email.bounced")
    check = command("check", _check, "Try a receiver with genuine and forged requests.")
    _add_ids(check)
    command("events", _events, "List the event types.")
    log = command("deliveries", _deliveries, "List a webhook's deliveries, newest first.")
    _add_ids(log)
    log.add_argument("--status", choices=_STATUSES)
    log.add_argument("--event", help="only this type")
    log.add_argument("--since", metavar="TIME", help="as 2025-12-21T10:30:00Z")
    log.add_argument("--until", metavar="TIME")
    log.add_argument("--limit", type=_positive, default=50, help="how many at most; else 50")
    resend = command("resend", _resend, "Have one more attempt of a delivery made.")
    _add_ids(resend)
    resend.add_argument("delivery", metavar="DELIVERY", type=_id)
    listen = command("listen", _listen, "Print deliveries as they come; forward them to a port.")
    listen.add_argument("webhook", metavar="WEBHOOK", type=_id, nargs="?", help="else all")
    listen.add_argument(
        "--forward",
        metavar="PORT[/PATH]",
        type=_local_url,
        help="send each to http://127.0.0.1:PORT/PATH",
    )
    listen.add_argument("--secret", help=f"sign with it; else with {SECRET_VARIABLE}")
    listen.add_argument("--interval", type=_interval, default=1.0, metavar="SECONDS")
    return root


def _list(api: Api, screen: Screen, _: argparse.Namespace) -> None:
    found = [webhook for page in api.pages("/webhooks") for webhook in page.data]
    tables.webhooks(screen, found)


def _create(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    given = {
        "url": options.url,
        "events": [name.strip() for name in options.events.split(",")],
        "secret": options.secret,
        "description": options.description,
        "headers": dict(options.header) if options.header else None,
    }
    body = {name: value for name, value in given.items() if value is not None}
    tables.secret(screen, api.call("POST", "/webhooks", body=body).data)


def _show(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    if options.delivery is None:
        tables.thing(screen, api.get(f"/webhooks/{options.webhook}"))
        return
    path = f"/webhooks/{options.webhook}/deliveries/{options.delivery}"
    tables.delivery(screen, api.get(path))


def _delete(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    tables.thing(screen, api.call("DELETE", f"/webhooks/{options.webhook}").data)


def _enable(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    _switch(api, screen, options, active=True)


def _disable(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    _switch(api, screen, options, active=False)


def _switch(api: Api, screen: Screen, options: argparse.Namespace, *, active: bool) -> None:
    changed = api.call("PATCH", f"/webhooks/{options.webhook}", body={"active": active})
    tables.thing(screen, changed.data)


def _rotate(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    body = {} if options.overlap is None else {"overlap_seconds": options.overlap}
    path = f"/webhooks/{options.webhook}/rotate-secret"
    tables.secret(screen, api.call("POST", path, body=body).data)


def _test(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    path = f"/webhooks/{options.webhook}/test"
    tables.delivery(screen, api.call("POST", path, body={"event": options.event}).data)


def _check(api: Api, screen: Screen, options: argparse.Namespace) -> int:
    path = f"/webhooks/{options.webhook}/check"
    check = api.call("POST", path).data
    patient_until = time.monotonic() + _CHECK_PATIENCE_SECONDS
    while check["status"] == "running" and time.monotonic() < patient_until:
        time.sleep(_CHECK_POLL_SECONDS)
        check = api.get(f"{path}s/{check['id']}")
    tables.check(screen, check)
    return 0 if check.get("verified") else 1


def _events(api: Api, screen: Screen, _: argparse.Namespace) -> None:
    tables.event_types(screen, api.get("/event-types"))


def _deliveries(api: Api, screen: Screen, options: argparse.Namespace) -> None:
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
        print(f"There may be more than these: see --limit, now {options.limit}.", file=sys.stderr)


def _resend(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    path = f"/webhooks/{options.webhook}/deliveries/{options.delivery}/resend"
    tables.delivery(screen, api.call("POST", path).data)


def _listen(api: Api, screen: Screen, options: argparse.Namespace) -> None:
    if str(_CORE) not in sys.path:
        sys.path.append(str(_CORE))
    from local.cli.listen import listen

    secret = options.secret or os.environ.get(SECRET_VARIABLE) or None
    listen(
        api,
        screen,
        sys.stderr,
        webhook_id=options.webhook,
        url=options.forward,
        secret=secret,
        interval_seconds=options.interval,
    )


def _add_ids(command: argparse.ArgumentParser) -> None:
    command.add_argument("webhook", metavar="WEBHOOK", type=_id, help="the webhook's id")


def _complain(text: str) -> None:
    print(f"webhooks: {cell(text)}", file=sys.stderr)


def _id(text: str) -> str:
    if not re.fullmatch(r"[\w-]+", text, re.ASCII):
        msg = f"{text!r} is no id"
        raise argparse.ArgumentTypeError(msg)
    return text


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        msg = f"{text!r} is not of the form NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is not a whole number from 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _local_url(text: str) -> str:
    match = _LOCAL_ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= 65535:
        msg = f"{text!r} is not of the form PORT or PORT/PATH, as 3000/webhooks"
        raise argparse.ArgumentTypeError(msg)
    return f"http://127.0.0.1:{match[1]}{match[2] or '/'}"


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not _MIN_INTERVAL_SECONDS <= seconds <= _MAX_INTERVAL_SECONDS:
        msg = f"{text!r} is not from {_MIN_INTERVAL_SECONDS} to {_MAX_INTERVAL_SECONDS:.0f} seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds
