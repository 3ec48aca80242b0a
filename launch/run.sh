#!/usr/bin/env bash
# Installs into .venv if needed, then runs the main job. Arguments are passed
# on: launch/run.sh --config=configs/ppo_ptx.py:smoke --workdir=runs/smoke
# EXTRA=tpu or EXTRA=gpu installs the accelerator's JAX.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash launch/install.sh "${EXTRA:-}"
case " $* " in
  *" --config="* | *" --config "*) ;;
  *) set -- --config=configs/ppo_ptx.py "$@" ;;
esac
exec .venv/bin/python -m instructgpt_jax.main "$@"
