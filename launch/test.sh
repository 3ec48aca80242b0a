#!/usr/bin/env bash
# Installs the extras test, data and eval into .venv if needed, then lints, type-checks and
# runs the tests, in two processes unless WORKERS says otherwise. Arguments go to
# pytest: launch/test.sh tests/algos -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash launch/install.sh test,data,eval
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
if ! .venv/bin/python -c 'import libtpu' 2>/dev/null; then
  echo "no libtpu in .venv: --fit is tested on emulated slices alone;" \
    "pip install -e '.[tpu]' there tests it for TPUs as well"
fi
exec .venv/bin/python -m pytest -n "${WORKERS:-2}" "$@"
