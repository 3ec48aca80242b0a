#!/usr/bin/env bash
# Installs the extras test, data, eval and labeling into .venv if needed, and as root
# the programs that tests of the labelling application need; then lints, type-checks
# and runs the tests, in two processes unless WORKERS says otherwise. Arguments go to
# pytest: launch/test.sh tests/algos -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash launch/install.sh test,data,eval,labeling
packages=()
[ -x /usr/bin/chromium ] || packages+=(chromium)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null ||
  packages+=(postgresql)
if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
      --no-install-recommends "${packages[@]}"
  else
    echo "not here, so that tests are skipped: ${packages[*]};" \
      "as root: apt-get install --no-install-recommends ${packages[*]}"
  fi
fi
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
if ! .venv/bin/python -c 'import libtpu' 2>/dev/null; then
  echo "no libtpu in .venv: --fit is tested on emulated slices alone;" \
    "pip install -e '.[tpu]' there tests it for TPUs as well"
fi
exec .venv/bin/python -m pytest -n "${WORKERS:-2}" "$@"
