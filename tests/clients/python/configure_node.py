"""Serves the scripted upstream for the stories in Node and configures it as the providers `node` and `node-limited`. Prints a line
when that is in force, then serves until it is ended."""

from scripted import Scripted
from system import call, in_force, mask

server = Scripted()
with server:
    config = server.configuration("node", "node-claude")
    limited = server.configuration("node-limited", "node-limited-claude")
    config = {kind: entries + limited[kind] for kind, entries in config.items()}
    call("ConfigService/ApplyConfig", {"ownerLabels": {"owner": "node"}, "config": config})
    settings = {"settings": {"streamKeepalive": "0.5s"}, "updateMask": mask("stream_keepalive")}
    in_force(call("SettingsService/UpdateSettings", settings)["revision"])
    print("ready", flush=True)
    input()
