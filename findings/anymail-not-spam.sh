#!/usr/bin/env bash
# django-anymail reports an SES complaint of the type not-spam as a spam complaint.
#
# Surprising: somebody takes a mail out of the spam folder; the application hears "complained", with
#   the reason "spam".
# Matters: applications unsubscribe and suppress whoever complains, so they stop writing to a person who
#   has just said that the mail is wanted. The type is only left in the free-text description.
# Expected because: SES's guide to notification contents takes complaintFeedbackType from the abuse
#   report's types, in which not-spam says that the mail is not spam, and serves to correct a mail that
#   was wrongly classified as such (RFC 6430).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'django-anymail[amazon-ses]==15.2' django==5.2.19

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import json
import sys

import django
from django.conf import settings

settings.configure(SECRET_KEY="x", INSTALLED_APPS=["anymail"], ALLOWED_HOSTS=["*"], ANYMAIL={})
django.setup()

from anymail.signals import tracking
from anymail.webhooks.amazon_ses import AmazonSESTrackingWebhookView
from django.test import RequestFactory

seen = []


def record(sender, event, **_):
    seen.append((event.event_type, event.reject_reason, event.description))


tracking.connect(record)


complaint = {
    "eventType": "Complaint",
    "mail": {"messageId": "m-1", "destination": ["ann@example.com"], "headers": []},
    "complaint": {
        "complaintFeedbackType": "not-spam",
        "complainedRecipients": [{"emailAddress": "ann@example.com"}],
        "feedbackId": "f-1",
        "timestamp": "2026-01-02T03:04:05.000Z",
    },
}
notification = {
    "Type": "Notification",
    "MessageId": "n-1",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:feedback",
    "Timestamp": "2026-01-02T03:04:05.000Z",
    "Message": json.dumps(complaint),
}
request = RequestFactory().post(
    "/",
    json.dumps(notification),
    content_type="text/plain; charset=UTF-8",
    HTTP_X_AMZ_SNS_MESSAGE_TYPE="Notification",
    HTTP_X_AMZ_SNS_MESSAGE_ID="n-1",
)
assert AmazonSESTrackingWebhookView.as_view()(request).status_code == 200
print("Software: django-anymail 15.2 (PyPI)")
print("Expected: something other than a spam complaint, such as the type unknown")
print(f"Seen: event_type, reject_reason, description: {seen}")
sys.exit(seen != [("complained", "spam", "not-spam")])
PYTHON
