"""Rounds after the first, and cross-validation, on what a run has left."""

import json

import pytest

from instructgpt_jax.stages import reward
from tests.stages import here, micro

pytestmark = pytest.mark.slow


def comparisons(folder):
  path = folder / 'collect' / 'comparisons.jsonl'
  return [json.loads(line) for line in path.read_bytes().splitlines()]


def later(finished, *stages):
  config = micro.get_config()
  config.stages = stages
  config.init.run = str(finished)
  before = finished / 'collect' / 'comparisons.jsonl'
  config.data.files.comparisons = (str(before),)
  return config


def test_a_later_round_asks_the_current_policy_of_other_prompts(
  finished, tmp_path
):
  config = later(finished, 'collect', 'reward')
  config.init.collect = str(finished / 'ppo' / 'ema')
  config.collect.update(dict(skip=24, prompts=16))
  here.run(config, tmp_path / 'policy')
  config.init.collect = ''
  here.run(config, tmp_path / 'sft')
  first = comparisons(finished)
  found = comparisons(tmp_path / 'policy')
  assert not {one['id'] for one in first} & {one['id'] for one in found}
  # The same prompts and noise: another policy writes otherwise.
  other = comparisons(tmp_path / 'sft')
  assert [one['id'] for one in found] == [one['id'] for one in other]
  assert [one['responses'] for one in found] != [
    one['responses'] for one in other
  ]
  read = sum(
    json.loads(
      (tmp_path / 'policy' / 'data' / name / 'dataset.json').read_text()
    )['stats']['read']
    for name in ('comparisons_train', 'comparisons_validation')
  )
  assert read == len(first) + len(found)


def test_each_group_is_held_out_once_and_nothing_is_trained_twice(
  finished, tmp_path, monkeypatch
):
  config = later(finished, 'labeler_cv')
  config.labeler_cv.update(dict(groups=2, seeds=2))
  config.reward.validation_share = 0.5
  trained = []

  def fit(session, stage, rows, judge=None):
    trained.append((stage, {row['labeler'] for row in rows}))
    if len(trained) == 3:
      raise KeyboardInterrupt
    return whole(session, stage, rows, judge)

  whole = reward.fit
  monkeypatch.setattr(reward, 'fit', fit)
  with pytest.raises(KeyboardInterrupt):
    here.run(config, tmp_path)
  found = here.run(config, tmp_path)['labeler_cv']
  stages = [stage for stage, _ in trained]
  assert stages == [
    *('labeler_cv/0-0', 'labeler_cv/0-1', 'labeler_cv/1-0'),
    *('labeler_cv/1-0', 'labeler_cv/1-1'),
  ]
  for a, b in ((0, 1), (3, 4)):
    assert not trained[a][1] & trained[b][1]
  # Of few prompts a group may have none to be judged on.
  assert found['models'] == 4 and 1 <= found['seen']['n'] <= 4
  assert 1 <= found['heldout']['n'] <= 4
  assert 0 <= found['heldout']['mean'] <= 1
  assert not list(tmp_path.glob('labeler_cv/*/checkpoints'))
