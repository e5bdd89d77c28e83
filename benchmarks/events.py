"""Distinct events for measurements, each with a body of about a kilobyte when delivered."""

from __future__ import annotations

import hashlib
import json

BODY_BYTES = 1024


def event_text(number: int, account_id: str = "acc_1") -> str:
    """Return a message of the events queue; the number determines its ids."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    data = {
        "id": f"txn_mjgc0ejr_{digest[:12]}",
        "email_id": f"{digest[:8]}-{digest[8:16]}-{digest[16:24]}",
        "type": "email",
        "status": "delivered",
        "to": f"{digest[24:32]}@example.com",
        "subject": "Your order has been confirmed and is on its way",
        "from": "hello@yourdomain.com",
        "recipient_server": f"mx{digest[:2]}.mail.example.com",
        "smtp_response": f"250 2.0.0 OK {digest[:40]} - queued for delivery",
        "tags": {"campaign": "order-confirmation", "template": "order-v7", "order": digest[40:60]},
    }
    document = {
        "account_id": account_id,
        "event": "email.delivered",
        "transaction_id": data["id"],
        "timestamp": "2025-12-21T10:30:00Z",
        "data": data,
    }
    # A producer's details of the order: opaque text, which deflates to three quarters.
    delivered = {name: value for name, value in document.items() if name != "account_id"}
    missing = BODY_BYTES - len(json.dumps(delivered, separators=(",", ":"))) - len(',"ref":""')
    data["ref"] = _opaque(digest, missing)
    return json.dumps(document)


def _opaque(seed: str, length: int) -> str:
    text = ""
    while len(text) < length:
        seed = hashlib.sha256(seed.encode()).hexdigest()
        text += seed
    return text[:length]
