"""What a run cost: tokens, FLOPs and device-hours of each stage.

By arithmetic over what the stage's metrics say was done, at the lengths of the
config: rows are full, and responses count to their end. The paper's figures,
which are 175B's: 4.9 petaflop/s-days for SFT, 60 for PPO-ptx, 3,640 for
pre-training (5.1).
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from instructgpt_jax.evals import flops
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.runtime import checkpoint, metrics

PAPER = {'pretrain': 3_640.0, 'sft': 4.9, 'ppo': 60.0}  # petaflop/s-days, 5.1


class Cost(NamedTuple):
  """Tokens that were learned from, read or written, and FLOPs."""

  tokens: float
  flops: float


class Stage(NamedTuple):
  """All that is known of a stage that is done."""

  config: Mapping[str, Any]  # of the run
  steps: int  # the last one in its metrics
  results: Mapping[str, Any]
  models: Callable[[str], ModelConfig]  # of a folder of params in the run


def of_run(folder: pathlib.Path, devices: int) -> dict[str, dict[str, float]]:
  """Returns {stage: {tokens, flops, petaflop_days, device_hours, paper}}.

  Of the stages that are done in a run folder, but for those that only prepare
  or evaluate. Of devices there are those that its report names, else
  `devices`; `paper` is there where the paper has a figure.
  """
  config = _json(folder / 'config.json')
  report = _json(folder / 'report.json')
  count = report.get('devices', {}).get('count', devices)
  found = {}
  for stage, cost in _COSTS.items():
    done = _json(folder / stage / 'DONE').get('results')
    # Another run's model answered: what it costs is not known here.
    elsewhere = stage == 'collect' and not (folder / 'sft' / 'params').is_dir()
    if not (config and done) or elsewhere:
      continue
    known = Stage(config, _steps(folder / stage), done['values'], _of(folder))
    tokens, total = cost(known)
    found[stage] = {
      'tokens': tokens,
      'flops': total,
      'petaflop_days': total / flops.PETAFLOP_DAY,
      'device_hours': count * done['seconds'] / 3600,
    }
    if stage in PAPER:
      found[stage]['paper'] = PAPER[stage]
  return found


def _of(folder: pathlib.Path) -> Callable[[str], ModelConfig]:
  def model(name: str) -> ModelConfig:
    saved = checkpoint.load_metadata(folder / name)
    return ModelConfig(**saved['model'])

  return model


def _steps(folder: pathlib.Path) -> int:
  lines = metrics.read_lines(folder / 'metrics.jsonl')
  return max((line['step'] for line in lines), default=0)


def _json(path: pathlib.Path) -> dict[str, Any]:
  return json.loads(path.read_bytes()) if path.is_file() else {}


def _passes(config: Mapping[str, Any]) -> int:
  """Returns forward passes that an update is worth: backward is two.

  One, where adapters alone learn: frozen weights need no gradient.
  """
  return 2 if config['lora']['rank'] else 3


def _pretrain(stage: Stage) -> Cost:
  length = stage.config['data']['row_length']
  tokens = stage.steps * stage.config['pretrain']['batch_size'] * length
  rows = tokens / length
  model = stage.models('pretrain/params')
  once = flops.forward(model, rows, length, length / 2, tokens)
  return Cost(tokens, 3 * once)


def _sft(stage: Stage) -> Cost:
  config, settings = stage.config, stage.config['sft']
  length = config['data']['row_length']
  rows = stage.steps * (settings['batch_size'] + settings['pretrain_rows'])
  model = stage.models('sft/params')
  once = flops.forward(model, rows, length, length / 2, rows * length)
  return Cost(rows * length, _passes(config) * once)


def _collect(stage: Stage) -> Cost:
  prompt, answer = _lengths(stage.config)
  rows = stage.results['completions']
  model = stage.models('sft/params')
  return Cost(rows * answer, flops.written(model, rows, prompt, answer))


def _reward(stage: Stage) -> Cost:
  config, settings = stage.config, stage.config['reward']
  length = settings['sequence_length']
  rows = stage.steps * settings['batch_size'] * settings['completions']
  model = stage.models('reward/params')
  once = flops.forward(model, rows, length, length / 2, 0)
  return Cost(rows * length, _passes(config) * once)


def _ppo(stage: Stage) -> Cost:
  """Writes, scores by four networks, then learns, from text beside."""
  config, settings = stage.config, stage.config['ppo']
  prompt, answer = _lengths(config)
  rows, whole = stage.steps * settings['batch_size'], prompt + answer
  policy, value = stage.models('ppo/params'), stage.models('ppo/value')
  read = flops.forward(policy, rows, whole, whole / 2, rows * answer)
  scored = flops.forward(value, rows, whole, whole / 2, 0)
  learned = _passes(config) * settings['epochs']
  text, length = settings['epochs'] * settings['ptx_rows'] * rows, 0
  count = flops.written(policy, rows, prompt, answer)
  count += (2 + learned) * (read + scored)
  if text:
    length = config['data']['row_length']
    once = flops.forward(policy, text, length, length / 2, text * length)
    count += _passes(config) * once
  return Cost(rows * answer + text * length, count)


def _lengths(config: Mapping[str, Any]) -> tuple[int, int]:
  return config['data']['prompt_length'], config['data']['response_length']


_COSTS: dict[str, Callable[[Stage], Cost]] = {
  'pretrain': _pretrain,
  'sft': _sft,
  'collect': _collect,
  'reward': _reward,
  'ppo': _ppo,
}
