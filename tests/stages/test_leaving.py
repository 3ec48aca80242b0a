"""Jobs of several processes are asked to leave in every loop over batches."""

import contextlib
import types

import numpy as np
import pytest

from instructgpt_jax.runtime import interrupts
from instructgpt_jax.stages import candidates, documents, responses, training
from tests.config_files import load
from tests.stages.complaints import mesh


class Told(Exception):
  """The job was told to end."""


def session():
  return types.SimpleNamespace(
    config=load('ppo_ptx'),
    mesh=mesh(),
    language_model=lambda: None,
    on_mesh=contextlib.nullcontext,
  )


def answers(count):
  ones = np.ones(3, np.int32)
  return [responses.Response({}, '', True, ones, ones > 0, 3)] * count


def never(*_):
  pytest.fail('a batch more')


def of_documents(monkeypatch):
  row = dict.fromkeys(('tokens', 'segments', 'loss_mask'), 0)
  monkeypatch.setattr(documents.inputs, 'text_rows', lambda *_: [row])
  monkeypatch.setattr(
    documents.pipeline, 'token_batches_once', lambda *_, **__: iter([None])
  )
  monkeypatch.setattr(documents.placement, 'put_batch', never)
  opened = candidates.Opened(session(), None, None)
  documents.losses(session(), opened, Unkept())


class Unkept:
  """Knows nothing yet."""

  def each(self, what, asked, compute):
    del what
    return [compute(i) for i in range(len(asked))]


LOOPS = {
  'scores': lambda _: responses._in_batches(session(), never, answers(5)),
  'metrics': lambda _: training.merged(session(), never, [np.zeros(2)]),
  'documents': of_documents,
}


@pytest.mark.parametrize('loop', LOOPS.values(), ids=LOOPS)
def test_a_loop_over_batches_asks_before_each(loop, monkeypatch):
  def told():
    raise Told

  monkeypatch.setattr(interrupts, 'leave_if_asked', told)
  with pytest.raises(Told):
    loop(monkeypatch)
