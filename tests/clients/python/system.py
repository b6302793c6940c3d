"""Where the running system is, as told by the environment that run.sh sets."""

import json
import os
import subprocess
import time

GATEWAY = os.environ["SIGNALBOX_URL"]
CLIENT_KEY = os.environ["SIGNALBOX_CLIENT_KEY"]
ADMIN = os.environ["SIGNALBOX_ADMIN"]
ADMIN_TOKEN = os.environ["SIGNALBOX_ADMIN_TOKEN"]


class Refused(Exception):
    """What grpcurl printed of an error status."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text
        self.code = next((line.split(":", 1)[1].strip() for line in text.splitlines() if line.strip().startswith("Code:")), "")


def grpcurl(method, request=None, token=ADMIN_TOKEN):
    """Calls a method with grpcurl, knowing no schema but what reflection tells."""
    command = ["grpcurl", "-plaintext"]
    if token:
        command += ["-H", f"authorization: Bearer {token}"]
    if request is not None:
        command += ["-d", "@"]
    command += [ADMIN] + method.split(" ")
    done = subprocess.run(command, input=json.dumps(request or {}), capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def call(method, request=None, token=ADMIN_TOKEN):
    """As grpcurl, with the answer read as JSON."""
    return json.loads(grpcurl(f"signalbox.admin.v1.{method}", request or {}, token) or "{}")


def mask(*paths):
    """A field mask as the packaged grpcurl 1.8.6 reads it; later releases take canonical JSON, one comma-joined camelCase string."""
    return {"paths": list(paths)}


def eventually(check, seconds=10):
    """Waits, bounded, until `check` returns something true."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError("did not come true in time")
        time.sleep(0.02)


def in_force(revision):
    """Waits until every connected data plane serves at least this revision."""

    def served():
        replicas = call("ReplicaService/ListReplicas").get("replicas", [])
        connected = [r for r in replicas if r["state"] != "STATE_DISCONNECTED"]
        return connected and all(int(r.get("servingRevision", 0)) >= int(revision) for r in connected)

    eventually(served)
