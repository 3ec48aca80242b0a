#!/usr/bin/env bash
# Makes .venv with this package in it: launch/install.sh [test|tpu|gpu|data|eval|labeling],
# or several with commas between.
# Does nothing when it was done before for the same setup.cfg and extra.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extra="${1:-}"
python="${PYTHON:-python3}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Python 3.11 or newer is needed; PYTHON=python3.12 $0 names another" >&2
  exit 1
fi
mark=".venv/installed-${extra:-base}"
want="$(cat setup.cfg pyproject.toml | cksum) $extra"
if [ "$(cat "$mark" 2>/dev/null)" != "$want" ]; then
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --editable ".${extra:+[$extra]}"
  echo "$want" > "$mark"
fi
