"""All in which two run folders differ, but for the clock."""

import base64
import json
import pathlib
import re
import struct

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp
from tensorboardX.proto import event_pb2

from instructgpt_jax.data import builders, tokenizer
from instructgpt_jax.runtime import checkpoint, integrity, metrics, report

STAGES = ('pretrain', 'sft', 'collect', 'reward', 'ppo', 'evaluate')
# Inside them names are drawn at random, or hold the time.
OPAQUE = ('arrays', 'tensorboard', 'downloads')
# Compared by what they say; ArrayRecord draws numbers for its blocks.
_BY_CONTENT = ('.lock', 'report.html', 'metrics.jsonl', 'report.json')


def differences(reference, run):
  """Returns lines that say what differs; [] when the runs are the same."""
  reference, run = pathlib.Path(reference), pathlib.Path(run)
  found = _sets('files', files(reference), files(run))
  for path in sorted(files(reference) & files(run)):
    if not path.endswith('/'):
      found += _of_file(path, reference, run)
  found += _text(_report(reference), _report(run), 'report.json')
  found += _text(_page(reference), _page(run), 'report.html')
  for stage in STAGES:
    found += _of_stage(reference / stage, run / stage)
  for folder in sorted((reference / 'data').glob('[a-z]*')):
    other = run / 'data' / folder.name
    if other.exists():
      found += _tree(_rows(folder), _rows(other), f'data/{folder.name}')
  found += _text(
    tokenizer.from_folder(reference / 'tokenizer').fingerprint(),
    tokenizer.from_folder(run / 'tokenizer').fingerprint(),
    'tokenizer',
  )
  return found


def files(run):
  """Returns the relative paths in a run that the clock does not name."""
  found = set()
  for path in run.rglob('*'):
    parts = path.relative_to(run).parts
    in_step = 'checkpoints' in parts and len(parts) > 3
    if in_step or any(name in OPAQUE for name in parts[:-1]):
      continue
    found.add('/'.join(parts) + ('/' if path.is_dir() else ''))
  return found


def _of_file(path, reference, run):
  """Compares a file as bytes, a JSON file without the clock."""
  name = path.rpartition('/')[2]
  if name in _BY_CONTENT or '.array_record' in name:
    return []
  texts = []
  for folder in (reference, run):
    raw = (folder / path).read_bytes()
    for root in (reference, run):  # a copy still names where it comes from
      raw = raw.replace(str(root).encode(), b'RUN')
    if name in ('DONE', 'settings.json'):
      raw = json.dumps(_clockless(json.loads(raw))).encode()
    if name == 'dataset.json':
      raw = json.dumps(_unhashed(json.loads(raw))).encode()
    texts.append(raw)
  return _text(*texts, path)


def _clockless(record):
  record = {k: v for k, v in record.items() if k not in ('time', 'seconds')}
  if 'results' in record:
    record['results'] = _clockless(record['results'])
  return record


def _unhashed(info):
  """Returns what is noted of a data set, but for hashes of drawn numbers."""
  kept = {k: v for k, v in info['files'].items() if '.array_record' not in k}
  return info | {'files': kept}


def _report(run):
  found = json.loads((run / 'report.json').read_text())
  assert report.tables(found)
  for part in found.get('compute', {}).values():
    if isinstance(part, dict):
      part.pop('device_hours', None)
  return json.dumps({k: v for k, v in found.items() if k != 'seconds'})


def _page(run):
  """Returns report.html without durations and without curves of the clock."""
  page = (run / 'report.html').read_text(encoding='utf-8')
  page = re.sub(r'(?<=>)(\d+ h )?(\d+ min)?( ?\d+ s)?(?=</(td|b)>)', '', page)
  hours = r'<table>(?:(?!</table>).)*device-hours.*?</table>'
  page = re.sub(hours, '', page, flags=re.DOTALL)
  return re.sub(r'(?<=base64,)[^"]+', _picture, page)


def _picture(found):
  svg = base64.b64decode(found[0]).decode()
  return 'a clock' if 'per_second' in svg else svg


def _of_stage(reference, run):
  found = []
  name = reference.name
  lines = [_lines(folder / 'metrics.jsonl') for folder in (reference, run)]
  found += _listed(*lines, f'{name}/metrics.jsonl')
  boards = [_scalars(folder / 'tensorboard') for folder in (reference, run)]
  found += _listed(*map(sorted, boards), f'{name}/tensorboard')
  for kind in ('params', 'ema', 'value'):
    if (reference / kind).exists() and (run / kind).exists():
      loaded = [checkpoint.load_params(f / kind) for f in (reference, run)]
      found += _tree(*loaded, f'{name}/{kind}')
  for step in sorted((reference / 'checkpoints').glob('[0-9]*')):
    other = run / 'checkpoints' / step.name
    if other.exists():
      found += _tree(
        _saved(step), _saved(other), f'{name}/checkpoints/{step.name}'
      )
  return found


def _saved(step):
  """Returns all a checkpoint holds, but for the seconds."""
  found = ocp.checkpointables_metadata(step).custom_metadata
  notes = integrity.unseal(found)
  del notes['extra']['seconds']
  state = ocp.load_checkpointables(step)['state']
  return {
    'state': jax.tree.map(_plain, state),
    'notes': json.dumps(notes, sort_keys=True),
  }


def _plain(x):
  is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(x) if is_key else x)


def _rows(folder):
  data = builders.Dataset(folder)
  return {str(i): row for i, row in enumerate(data)} | {'lengths': data.lengths}


def _lines(path):
  """Returns the metric lines without what depends on the clock."""
  found = []
  for line in metrics.read_lines(path):
    line.pop('time')
    line['values'] = {
      k: v for k, v in line['values'].items() if not k.startswith('time/')
    }
    found.append(json.dumps(line))
  return found


def _scalars(folder):
  """Returns (step, tag, number) as TensorBoard shows them after restarts."""
  shown = []
  for path in sorted(folder.glob('*')):
    for event in _events(path.read_bytes()):
      if event.HasField('session_log'):
        shown = [x for x in shown if x[0] < event.step]
      for value in event.summary.value:
        if '/time/' not in value.tag:
          shown.append((event.step, value.tag, value.simple_value))
  return [str(x) for x in shown]


def _events(raw):
  """Yields the events of a record file up to where a kill tore it."""
  while len(raw) >= 12:
    (length,) = struct.unpack('<Q', raw[:8])
    if len(raw) < length + 16:
      return
    yield event_pb2.Event.FromString(raw[12 : 12 + length])
    raw = raw[length + 16 :]


def _tree(a, b, name):
  """Compares trees of arrays and texts, bit for bit."""
  (left, shape), (right, other) = map(
    jax.tree_util.tree_flatten_with_path, (a, b)
  )
  if shape != other:
    return [f'{name}: {shape} is now {other}']
  found = []
  for (path, one), (_, two) in zip(left, right, strict=True):
    x, y = np.asarray(one), np.asarray(two)
    if (x.dtype, x.shape, x.tobytes()) != (y.dtype, y.shape, y.tobytes()):
      where = jax.tree_util.keystr(path, simple=True, separator='/')
      found.append(f'{name}: {where}: {str(x)[:200]} is now {str(y)[:200]}')
  return found


def _listed(a, b, name):
  if a == b:
    return []
  for i, (x, y) in enumerate(zip(a, b, strict=False)):
    if x != y:
      return [f'{name}: line {i + 1}: {x[:300]} is now {y[:300]}']
  return [f'{name}: {len(a)} lines are now {len(b)}']


def _sets(what, a, b):
  gone, new = sorted(a - b), sorted(b - a)
  return [f'{what}: {x} is missing' for x in gone] + [
    f'{what}: {x} is left over' for x in new
  ]


def _text(a, b, name):
  if a == b:
    return []
  at = next(
    (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
    min(len(a), len(b)),
  )
  left, right = (x[max(0, at - 60) : at + 60] for x in (a, b))
  return [f'{name}: {left!r} is now {right!r}']
