#!/usr/bin/env bash
# urllib3 loses the answer of a TLS server that responds before it has read the body, and closes.
#
# Surprising: over plain HTTP urllib3 reads such an answer (it forgives a broken pipe while it sends);
#   over TLS on Python 3.11 the same end is `ssl.SSLEOFError`, which it does not forgive.
# Matters: a 413, 429 or 401 of a proxy with its defaults (HAProxy's `http-request deny`) becomes a
#   TLS error, at random: the caller retries what it was told not to, and misses `Retry-After`.
# Expected because: over plain HTTP urllib3 reads such a response each time, since it reads on when
#   sending ends in a broken pipe.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=$(command -v python3.11 || command -v python3)
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check urllib3==2.8.0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>/dev/null

FOLDER=$folder "$folder/venv/bin/python" - <<'PYTHON'
import collections
import os
import socket
import ssl
import sys
import threading

import urllib3

folder = os.environ["FOLDER"]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")


def serve(listener, tls):
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if tls:
                connection = context.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(512)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            connection.close()  # with the body unread
        except OSError:
            pass


def seen(tls):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, tls), daemon=True).start()
    url = f"{'https' if tls else 'http'}://localhost:{listener.getsockname()[1]}/"
    found = collections.Counter()
    for _ in range(100):
        with urllib3.PoolManager(retries=False, ca_certs=f"{folder}/cert.pem") as http:
            try:
                found[http.request("POST", url, body=b"x" * 32768, timeout=5).status] += 1
            except Exception as error:
                found[type(error).__name__] += 1
    return dict(found)


plain, tls = seen(tls=False), seen(tls=True)
print(f"Software: urllib3 2.8.0 (PyPI), Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}")
print("Expected: 413, a hundred times, over plain HTTP and over TLS")
print(f"Seen: plain HTTP {plain}; TLS {tls}")
sys.exit(not (plain.get(413) == 100 and tls.get(413, 0) < 100))
PYTHON
