"""A whole run: check the config, run its stages in order, write the report."""

from __future__ import annotations

import pathlib
import time
from types import ModuleType
from typing import Any

import jax
from ml_collections import ConfigDict

from instructgpt_jax import sharding
from instructgpt_jax.runtime import (
  cache,
  distributed,
  interrupts,
  lock,
  report,
  startup,
)
from instructgpt_jax.runtime.progress import duration
from instructgpt_jax.runtime.run import Run, changed_settings, plain
from instructgpt_jax.stages import (
  accounting,
  adopt,
  asking,
  checks,
  collect,
  curate,
  deciding,
  earlier,
  evaluate,
  inputs,
  labeler_cv,
  layouts,
  ppo,
  pretrain,
  reward,
  sft,
  sources,
  vocabulary,
)
from instructgpt_jax.stages.session import Session

STAGES: dict[str, ModuleType] = {
  'curate': curate,
  'pretrain': pretrain,
  'sft': sft,
  'collect': collect,
  'reward': reward,
  'labeler_cv': labeler_cv,
  'ppo': ppo,
  'evaluate': evaluate,
}


@distributed.ending_soon()
def run(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Runs every stage that is not done yet; returns the report.

  Raises:
    ValueError: for whatever the user can put right, at start-up if possible.
    TrainingInterrupted: after SIGTERM or Ctrl-C, when everything is saved.
  """
  distributed.initialize()
  cache.keep(config.cache, workdir)
  mesh = layouts.mesh(config.mesh)
  config = decided(config)
  _check_alike(config, workdir)
  checks.check(config, mesh)
  checks.check_folder(workdir)
  folder = Run(workdir)
  with lock.held(folder.path):
    folder.clean()
    return _run(config, mesh, folder)


def _run(
  config: ConfigDict, mesh: jax.sharding.Mesh, folder: Run
) -> dict[str, Any]:
  session = Session(config, folder, mesh, inputs.tokenizer(config, folder))
  unfit = list(vocabulary.unfit(config, session.tokenizer))
  if unfit:  # a tokenizer that was trained, or of an earlier session
    raise ValueError('; '.join(unfit))
  say(_headline(config, mesh, folder))
  notes = (
    *adopt.told(config, session.tokenizer),
    vocabulary.note(config, session.tokenizer),
    layouts.replicated(session),
  )
  for note in filter(None, notes):
    say(note)
  seconds: dict[str, float] = {}
  results: dict[str, dict[str, Any]] = {}
  for stage in config.stages:
    interrupts.leave_if_asked()
    interrupts.entering(stage)
    results[stage], seconds[stage] = run_stage(session, stage)
    startup.mark(stage)
  for stage in deciding.done_besides(session, tuple(STAGES)):
    results[stage], seconds[stage] = _found(folder, stage)
  interrupts.leave_if_asked()
  interrupts.entering('the report')
  found = assemble(config, results, seconds)
  found['devices'] = {'count': mesh.size, 'kind': _kind(mesh)}
  if distributed.is_main():
    found['compute'] = accounting.of_run(_trained(config, folder), mesh.size)
    page = report.write_report(folder.path, found)
    say(report.terminal_table(found))
    say(f'report: {page}')
    data = report.data_page(folder.path, found)
    if data:
      say(f'report on the data: {data}')
  return found


def _check_alike(config: ConfigDict, workdir: str) -> None:
  """Raises ValueError, in all processes, if one has other settings."""
  ours = plain(config.to_dict()) | {'--workdir': workdir}
  changes = changed_settings(distributed.decide(lambda: ours), ours)
  problem = distributed.first_problem('; '.join(changes[:4]))
  if problem:
    raise ValueError(
      f'other settings than in the main process ({problem}): start all with '
      'the same command, and let all see the same folders'
    )


def decided(config: ConfigDict) -> ConfigDict:
  """Returns the config with all that it leaves open decided.

  Models are those of the folders that init names. sft.select 'auto' is by
  reward score where init names a reward model from before, as the paper does
  (3.5), else by validation loss.
  """
  config = adopt.adopt(earlier.adopt(config))
  if config.sft.select == 'auto':
    before = 'reward' not in config.stages and sources.source_folder(
      config, pathlib.Path(), 'reward'
    )
    found = before and sources.holds_model(before)
    config.sft.select = 'reward' if found else 'validation_loss'
  return config


def run_stage(session: Session, stage: str) -> tuple[dict[str, Any], float]:
  """Returns the results of a stage and its seconds, run now or before."""
  folder, settings = session.run, deciding.stage_settings(session, stage)
  if distributed.decide(lambda: folder.stage_status(stage, settings)) == 'done':
    say(f'{stage}: done before')
    return _found(folder, stage)
  folder.write_config(session.config.to_dict())
  earlier, began = folder.spent(stage), time.monotonic()
  folder.begin(stage, settings)
  try:
    values = STAGES[stage].run(session)
  except ValueError:
    _forget(folder, stage)
    raise
  took = earlier + time.monotonic() - began
  folder.finish(stage, settings, {'values': values, 'seconds': took})
  distributed.barrier(f'end of {stage}')  # the next stage reads its files
  say(f'{stage}: {duration(took)}')
  return values, took


def _found(folder: Run, stage: str) -> tuple[dict[str, Any], float]:
  results = folder.results(stage, values=dict, seconds=(int, float))
  return results['values'], results['seconds']


def _forget(folder: Run, stage: str) -> None:
  """Makes a stage new again if it saved nothing: it may be put right."""
  path = folder.path / stage
  saved = (path / asking.OFFERED).is_file()  # what people are asked
  if not saved and not any((path / 'checkpoints').glob('[0-9]*')):
    (path / 'settings.json').unlink(missing_ok=True)


def assemble(
  config: ConfigDict,
  results: dict[str, dict[str, Any]],
  seconds: dict[str, float],
) -> dict[str, Any]:
  """Returns report.json."""
  found: dict[str, Any] = {
    'config': config.name,
    'seconds': seconds,
    'params': _params(results),
  }
  if 'reward' in results:
    found['reward_accuracy'] = _accuracy(results['reward'])
  if 'labeler_cv' in results:
    found['labeler_cv'] = results['labeler_cv']
  return found | results.get('evaluate', {})


def _accuracy(results: dict[str, Any]) -> dict[str, Any]:
  found = {
    'train': results['train_accuracy'],
    'validation': results['validation/accuracy'],
    'pairs': results['validation/pairs'],
    'by_labeler': {
      name.rsplit('/', 1)[1]: value
      for name, value in results.items()
      if '/accuracy_by_labeler/' in name
    },
  }
  if 'heldout/accuracy' in results:
    found['heldout_labelers'] = results['heldout/accuracy']
    found['heldout_pairs'] = results['heldout/pairs']
  return found


def _params(results: dict[str, dict[str, Any]]) -> dict[str, int]:
  """Returns parameter counts by network."""
  counts = {
    stage: values['params']
    for stage, values in results.items()
    if 'params' in values
  }
  if 'ppo' in results:
    counts['value'] = results['ppo']['value_params']
  return counts


def _headline(config: ConfigDict, mesh: jax.sharding.Mesh, folder: Run) -> str:
  return (
    f'{config.name} in {folder.path}: {", ".join(config.stages)}\n'
    f'{mesh.size} {_kind(mesh)} devices, mesh {sharding.described(mesh)}'
  )


def _kind(mesh: jax.sharding.Mesh) -> str:
  return mesh.devices.flat[0].device_kind


def _trained(config: ConfigDict, folder: Run) -> pathlib.Path:
  """Returns the run whose models are evaluated: an earlier one, or this."""
  alone = config.stages == ('evaluate',) and config.init.run
  return pathlib.Path(config.init.run) if alone else folder.path


def say(text: str) -> None:
  """Prints on the main process."""
  if distributed.is_main():
    print(text, flush=True)
