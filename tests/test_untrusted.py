"""Files of others are data: nothing in them runs, leaves or forges."""

import ast
import base64
import gzip
import html.parser
import json
import pathlib
import shutil
import subprocess
import sys
import tracemalloc

import jax
import jinja2
import numpy as np
import pytest
import transformers

from instructgpt_jax.data import builders, chat, records
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.data.builders import stored
from instructgpt_jax.runtime import checkpoint, metrics, progress, report
from tests.config_files import ROOT
from tests.data.toy_records import byte_tokenizer, located

# --- nothing that runs what it reads

FORBIDDEN_MODULES = (
  *('pickle', 'cPickle', '_pickle', 'dill', 'cloudpickle', 'joblib', 'shelve'),
  *('marshal', 'pickletools', 'numpy.lib.npyio'),
)
FORBIDDEN_CALLS = (
  *('eval', 'exec', 'compile', 'pd.read_pickle', '__import__'),
  *('os.system', 'os.popen', 'runpy.run_path', 'runpy.run_module'),
)
# Methods of archives, which write wherever the names in them say.
UNPACKING = ('extract', 'extractall', 'unpack_archive')
# What tests and benchmarks do with programs of their own, and the package not.
OUR_OWN = (
  *('calls exec', 'calls __import__', 'calls runpy.run_module'),
  'imports subprocess',
)


def dangers(source):
  """Yields 'line: what' for all that could run what it reads."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [node.module or '']
      names += [f'{node.module}.{alias.name}' for alias in node.names]
    else:
      names = []
    if any(name.split('.')[0] == 'subprocess' for name in names):
      yield f'{node.lineno}: imports subprocess'
    for name in names:
      if name in FORBIDDEN_MODULES or name.split('.')[0] in FORBIDDEN_MODULES:
        yield f'{node.lineno}: imports {name}'
    if isinstance(node, ast.Call):
      yield from _dangerous_call(node)


def _dangerous_call(node):
  name = ast.unparse(node.func).removeprefix('builtins.')
  given = {k.arg: ast.unparse(k.value) for k in node.keywords}
  if name in FORBIDDEN_CALLS:
    yield f'{node.lineno}: calls {name}'
  if name.split('.')[-1] in UNPACKING:
    yield f'{node.lineno}: unpacks with {name}'
  imported = name.split('.')[-1] == 'import_module' or name == 'libraries.load'
  if imported and not (node.args and _names_a_library(node.args[0])):
    yield f'{node.lineno}: {name} of a name that is not written here'
  if name.startswith(('os.exec', 'os.spawn', 'os.posix_spawn')):
    yield f'{node.lineno}: calls {name}'
  if name in ('np.load', 'numpy.load', 'jnp.load') and (
    given.get('allow_pickle') != 'False'
  ):
    yield f'{node.lineno}: {name} without allow_pickle=False'
  if name == 'torch.load' and given.get('weights_only') != 'True':
    yield f'{node.lineno}: torch.load without weights_only=True'
  if name in ('yaml.load', 'yaml.unsafe_load', 'yaml.full_load'):
    yield f'{node.lineno}: calls {name}'
  if given.get('trust_remote_code', 'False') != 'False':
    yield f'{node.lineno}: {name} with trust_remote_code'
  if given.get('allow_pickle', 'False') != 'False':
    yield f'{node.lineno}: {name} with allow_pickle'


def _names_a_library(node):
  """Whether at least 'library.' is written here."""
  if isinstance(node, ast.JoinedStr):
    return isinstance(node.values[0], ast.Constant) and (
      '.' in node.values[0].value
    )
  return isinstance(node, ast.Constant)


def test_no_file_unpickles_evaluates_or_trusts():
  found, read = [], 0
  for folder in ('instructgpt_jax', 'configs', 'tests', 'benchmarks'):
    for path in sorted((ROOT / folder).rglob('*.py')):
      read += 1
      for danger in dangers(path.read_text()):
        where = str(path.relative_to(ROOT))
        # Tests run examples of our own documents and programs of their own.
        own = folder in ('tests', 'benchmarks') and danger.endswith(OUR_OWN)
        # It imports what its callers name, who are held to the same rule.
        own |= 'import_module' in danger and path.name == 'libraries.py'
        if not own:
          found.append(f'{where}:{danger}')
  assert read > 100
  assert not found, '\n'.join(found)


@pytest.mark.parametrize(
  'line, wanted',
  [
    ('import pickle', '1: imports pickle'),
    ('import joblib.memory as m', '1: imports joblib.memory'),
    ('from dill import load', '1: imports dill'),
    ('np.load(p)', '1: np.load without allow_pickle=False'),
    ('np.load(p, allow_pickle=True)', '1: np.load with allow_pickle'),
    ('torch.load(p)', '1: torch.load without weights_only=True'),
    ('yaml.load(f)', '1: calls yaml.load'),
    ('eval(x)', '1: calls eval'),
    ('builtins.exec(x)', '1: calls exec'),
    ('__import__(x)', '1: calls __import__'),
    (
      'importlib.import_module(x)',
      '1: importlib.import_module of a name that is not written here',
    ),
    (
      "libraries.load(f'{x}.load', 'this')",
      '1: libraries.load of a name that is not written here',
    ),
    (
      'tarfile.open(p).extractall(d)',
      '1: unpacks with tarfile.open(p).extractall',
    ),
    (
      'zipfile.ZipFile(p).extract(n)',
      '1: unpacks with zipfile.ZipFile(p).extract',
    ),
    ('shutil.unpack_archive(p)', '1: unpacks with shutil.unpack_archive'),
    ('import subprocess', '1: imports subprocess'),
    ('from subprocess import run', '1: imports subprocess'),
    ('os.system(x)', '1: calls os.system'),
    ('os.execv(x, y)', '1: calls os.execv'),
    ('f(p, trust_remote_code=True)', '1: f with trust_remote_code'),
  ],
)
def test_each_danger_would_be_seen(line, wanted):
  assert wanted in list(dangers(line))
  fine = "np.load(p, allow_pickle=False)\nx.eval()\nimport_module('torch')"
  assert not list(dangers(fine))


def pickled(marker):
  """Bytes that make a file when they are unpickled."""
  return f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()


def object_array(marker):
  """A .npy whose one element is such a pickle."""
  header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
  header += b' ' * (-(len(header) + 11) % 64) + b'\n'
  size = len(header).to_bytes(2, 'little')
  return b'\x93NUMPY\x01\x00' + size + header + pickled(marker)


def test_the_pickle_of_these_tests_does_run_where_it_is_read(tmp_path):
  (tmp_path / 'p').write_bytes(pickled(tmp_path / 'marker'))
  command = [sys.executable, '-m', 'pickle', str(tmp_path / 'p')]
  subprocess.run(command, capture_output=True, check=False, timeout=60)
  assert (tmp_path / 'marker').exists()


# --- prepared data

PROMPTS = [{'prompt': f'prompt {i}'} for i in range(5)]


def prepare(folder):
  return builders.prepare_prompts(
    located(PROMPTS),
    tokenizer=byte_tokenizer(),
    folder=folder,
    name='prompts',
    length=16,
    inputs='the same',
  )


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp('prepared')
  prepare(folder)
  return folder


@pytest.fixture
def place(whole, tmp_path):
  return shutil.copytree(whole, tmp_path / 'data')


def asks_for(place):
  """Whether the folder can be opened; it must be refused by a DataError."""
  try:
    list(builders.Dataset(place / 'prompts'))
  except records.DataError as error:
    assert str(error).startswith(f'{place / "prompts"}: prepared data that')
    assert 'Delete the folder' in str(error)
    return False
  return True


def prepared_anew(place):
  rows = prepare(place)
  assert [row['prompt'] for row in rows] == [r['prompt'] for r in PROMPTS]
  assert not (place / 'prompts').is_symlink()


FILES = ('lengths.npy', 'dataset.json', 'features.json', 'dataset_info.json')


@pytest.mark.parametrize('payload', [pickled, object_array])
@pytest.mark.parametrize('name', FILES)
def test_a_pickle_in_prepared_data_is_refused_and_redone(
  place, tmp_path, name, payload
):
  (path,) = place.rglob(name)
  path.write_bytes(payload(tmp_path / 'marker'))
  assert not asks_for(place)
  prepared_anew(place)
  assert asks_for(place)
  assert not (tmp_path / 'marker').exists()


def test_rows_that_are_a_pickle_are_refused(place, tmp_path):
  (path,) = place.rglob('*array_record*')
  size = path.stat().st_size
  path.write_bytes(pickled(tmp_path / 'marker'))
  assert not asks_for(place)
  path.write_bytes(pickled(tmp_path / 'marker').ljust(size))
  assert not asks_for(place)
  path.unlink()
  assert not asks_for(place)
  prepared_anew(place)
  assert not (tmp_path / 'marker').exists()


def test_a_flipped_bit_in_the_rows_is_refused_or_changes_nothing(place):
  (path,) = place.rglob('*array_record*')
  data = path.read_bytes()
  filled = np.flatnonzero(np.frombuffer(data, np.uint8))
  refused = 0
  for position in filled[:: len(filled) // 40]:
    spoiled = bytearray(data)
    spoiled[position] ^= 1
    path.write_bytes(spoiled)
    if asks_for(place):
      rows = builders.Dataset(place / 'prompts')
      assert [json.loads(row['record'])['prompt'] for row in rows] == [
        record['prompt'] for record in PROMPTS
      ]
    else:
      refused += 1
  assert refused > 20


def _data(value):
  def change(folder):
    path = folder / 'dataset.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {'data': value}))

  return change


def _text(name, old, new):
  def change(folder):
    (path,) = folder.rglob(name)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    notes = folder / 'dataset.json'  # whoever does this can also count
    info = json.loads(notes.read_text()) | {'files': stored.hashes(folder)}
    notes.write_text(json.dumps(info))

  return change


def _link(name):
  def change(folder):
    (path,) = folder.rglob(name)
    outside = folder.parent.parent / 'outside'
    path.rename(outside)
    path.symlink_to(outside)

  return change


TEXT = 'tensorflow_datasets.core.features.text_feature.Text'
ESCAPES = {
  'parent': _data('../outside'),
  'absolute': _data('/'),
  'no text': _data(7),
  'folder linked out': _link('instructgpt_prompts'),
  'file linked out': _link('features.json'),
  'rows elsewhere': _text(
    'dataset_info.json', '"{DATASET}-', '"/etc/{DATASET}-'
  ),
  'rows above': _text('dataset_info.json', '"{DATASET}-', '"../{DATASET}-'),
  'class of others': _text('features.json', TEXT, 'evil_module.Text'),
  'class in other letters': _text(
    'features.json', TEXT, '\\u0065vil_module.Text'
  ),
  'class by its other name': _text(
    'features.json',
    f'"pythonClassName": "{TEXT}"',
    '"python_class_name": "evil_module.Text"',
  ),
  'class in the old form': _text(
    'features.json', '{', '{"type": "evil_module.Text", "content": {}, '
  ),
  'class given twice': _text(
    'features.json',
    f'"pythonClassName": "{TEXT}"',
    f'"pythonClassName": "evil_module.Text", "pythonClassName": "{TEXT}"',
  ),
}


@pytest.mark.parametrize('name', ESCAPES)
def test_prepared_data_names_no_place_outside_and_no_code(
  place, tmp_path, monkeypatch, name
):
  marker = tmp_path / 'marker'
  (tmp_path / 'evil_module.py').write_text(f'open({str(marker)!r}, "w")\n')
  monkeypatch.syspath_prepend(tmp_path)
  ESCAPES[name](place / 'prompts')
  assert not asks_for(place)
  prepared_anew(place)
  assert asks_for(place)
  assert not marker.exists()


def test_rows_that_are_not_as_many_as_their_lengths_are_refused(place):
  (path,) = place.rglob('lengths.npy')
  np.save(path, np.zeros(3, np.int32))
  assert not asks_for(place)


# --- weights and tokenizers


def test_a_pickle_among_the_weights_is_never_run(tmp_path):
  params = {'w': np.arange(6.0, dtype=np.float32), 'b': np.ones(2, np.int32)}
  checkpoint.save_params(tmp_path / 'whole', params, {'model': {}})
  shapes = jax.eval_shape(lambda: params)
  paths = [p for p in (tmp_path / 'whole').rglob('*') if p.is_file()]
  assert len(paths) > 3
  refused = 0
  for path in paths:
    folder = shutil.copytree(tmp_path / 'whole', tmp_path / 'copy')
    spoiled = folder / path.relative_to(tmp_path / 'whole')
    spoiled.write_bytes(pickled(tmp_path / 'marker'))
    try:
      found, _ = checkpoint.load_params(folder, shapes)
      jax.tree.map(np.testing.assert_array_equal, found, params)
    except ValueError:
      refused += 1
    shutil.rmtree(folder)
  assert refused >= 2  # the notes, and the arrays themselves
  assert not (tmp_path / 'marker').exists()


def test_a_pickle_in_a_tokenizer_folder_is_never_run(tmp_path):
  byte_tokenizer().save(tmp_path / 'whole')
  names = [path.name for path in (tmp_path / 'whole').iterdir()]
  assert 'tokenizer.json' in names
  for name in [*names, 'vocab.json', 'spiece.model', 'tokenizer.model']:
    folder = shutil.copytree(tmp_path / 'whole', tmp_path / 'copy')
    (folder / name).write_bytes(pickled(tmp_path / 'marker'))
    try:
      ids = tokenizer_lib.from_folder(folder).encode('abc')
      assert ids == byte_tokenizer().encode('abc')
    except ValueError as error:
      assert str(error).startswith(f'{folder}: transformers cannot load')
    shutil.rmtree(folder)
  assert not (tmp_path / 'marker').exists()


@pytest.mark.parametrize('known_class', [True, False])
def test_code_in_a_tokenizer_folder_is_never_run(tmp_path, known_class):
  folder, marker = tmp_path / 'model', tmp_path / 'marker'
  byte_tokenizer().save(folder)
  path = folder / 'tokenizer_config.json'
  settings = json.loads(path.read_text())
  settings['auto_map'] = {'AutoTokenizer': ['own.Own', 'own.Own']}
  if not known_class:
    settings['tokenizer_class'] = 'Own'
  path.write_text(json.dumps(settings))
  own = {'model_type': 'own', 'auto_map': {'AutoConfig': 'own.Own'}}
  (folder / 'config.json').write_text(json.dumps(own))
  for name in ('own.py', '__init__.py', 'tokenization_own.py'):
    (folder / name).write_text(f'open({str(marker)!r}, "w")\nclass Own: pass\n')
  try:
    ids = tokenizer_lib.from_folder(folder).encode('abc')
    assert ids == byte_tokenizer().encode('abc')
  except ValueError as error:
    assert 'it comes with Python code, which is never run' in str(error)
  assert not marker.exists()


RUNNING = {
  'system': "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}",
  'builtins': "{{ lipsum.__globals__['__builtins__'].open('MARKER', 'w') }}",
  'by filter': "{{ (lipsum|attr('__globals__'))['__builtins__']"
  ".open('MARKER', 'w') }}",
}
TEMPLATES = RUNNING | {
  'subclasses': "{{ ''.__class__.__mro__[1].__subclasses__() }}",
  'format': "{{ '{0.__class__.__mro__}'.format('') }}",
  'globals': '{{ raise_exception.__globals__ }}',
  'include': "{% include 'MARKER' %}",
  'changes': "{{ messages.append({'role': 'user', 'content': 'x'}) }}",
}


@pytest.mark.parametrize('name', TEMPLATES)
def test_a_hostile_chat_template_reaches_nothing(tmp_path, name):
  folder, marker = tmp_path / 'model', tmp_path / 'marker'
  byte_tokenizer().save(folder)
  template = TEMPLATES[name].replace('MARKER', str(marker))
  (folder / 'chat_template.jinja').write_text(template)
  tokenizer = tokenizer_lib.from_folder(folder)
  messages = [{'role': 'user', 'content': 'hello'}]
  try:
    text = tokenizer.render_chat(messages, reply=False)
  except Exception:  # whatever a template raises
    text = ''
  assert '<' not in text and '__' not in text  # the name of no object
  with pytest.raises(chat.ChatError):
    chat.encode(tokenizer, messages)
  assert not marker.exists()
  assert messages == [{'role': 'user', 'content': 'hello'}]


@pytest.mark.parametrize('name', RUNNING)
def test_such_a_template_does_run_where_nothing_holds_it(tmp_path, name):
  marker = tmp_path / 'marker'
  template = RUNNING[name].replace('MARKER', str(marker))
  jinja2.Environment(autoescape=True).from_string(template).render()
  assert marker.exists()


# --- records


def test_a_gzip_bomb_is_an_error_not_memory(tmp_path):
  path = tmp_path / 'bomb.jsonl.gz'
  member = gzip.compress(b' ' * 2**24 + b'x' * 2**24, 1)
  path.write_bytes(gzip.compress(b'{"id": "a", "text": "') + member * 32)
  assert path.stat().st_size < 2**23  # for a line of 1 GB
  tracemalloc.start()
  try:
    with pytest.raises(records.DataError) as error:
      list(records.read_records(path, 'text'))
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  wanted = 'longer than 16,777,216 bytes. Split the record.'
  assert str(error.value) == f'{path}:1: {wanted}'
  assert peak < 100 * 2**20


@pytest.fixture(scope='module', params=['trained', 'folder', 'in Python'])
def tokenizer(request, tmp_path_factory):
  trained = tokenizer_lib.train_bpe(['a cat and a dog'] * 9, 280)
  if request.param == 'trained':
    return trained
  folder = tmp_path_factory.mktemp('tokenizer')
  if request.param == 'folder':
    trained.save(folder)
  else:
    transformers.ByT5Tokenizer(extra_ids=3).save_pretrained(folder)
  return tokenizer_lib.from_folder(folder)


NAMES = (
  *('<|endoftext|>', '<|pad|>', '</s>', '<pad>', '<unk>', '<extra_id_0>'),
  *('\0', '\ufeff', '\u202e', '<|endoftext|', '<s>', '[SEP]', '<|im_end|>'),
)


@pytest.mark.parametrize('name', NAMES)
def test_text_that_names_a_control_token_is_text(tokenizer, tmp_path, name):
  control = {tokenizer.eos_id, tokenizer.pad_id}
  for text in (name, f'a{name}b', f' {name} ', name * 3, f'\n{name}\n\n{name}'):
    ids = tokenizer.encode(text)
    assert not control & set(ids)
    assert tokenizer.decode(ids) == text


def rows_of(kind, tokenizer, folder, **record):
  made = getattr(builders, f'prepare_{kind}')(
    located([record]), tokenizer=tokenizer, folder=folder, name=kind, length=96
  )
  return list(made)


def test_prepared_rows_end_where_their_records_end(tokenizer, tmp_path):
  bad = f'x<|endoftext|></s><|pad|><pad>{tokenizer_lib.EOS}y'
  place = {'tokenizer': tokenizer, 'folder': tmp_path}
  (row,) = rows_of('text', **place, text=bad)
  real = row['tokens'][row['segments'] > 0]
  assert row['segments'].max() == 1
  assert (real == tokenizer.eos_id).sum() == 1 and real[-1] == tokenizer.eos_id
  (row,) = rows_of('demonstrations', **place, prompt=bad, response=bad)
  real = row['tokens'][row['segments'] > 0]
  assert (real == tokenizer.eos_id).sum() == 1 and real[-1] == tokenizer.eos_id
  (row,) = rows_of('prompts', **place, prompt=bad)
  assert tokenizer.eos_id not in row['tokens']
  ranked = {'responses': [bad, 'y'], 'ranks': [1, 2], 'ended': [True, False]}
  (row,) = rows_of('comparisons', **place, prompt=bad, **ranked)
  ends = (row['tokens'] == tokenizer.eos_id) & row['mask']
  assert ends.sum(1).tolist()[:2] == [1, 0]


# --- what is shown


class Page(html.parser.HTMLParser):
  """The elements of a page, their attributes, and the text outside style."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.attributes, self.text = set(), set(), ''
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    self.attributes |= {name for name, _ in attrs}
    for name, value in attrs:
      if name in ('src', 'href'):
        assert value.startswith('data:image/svg+xml;base64,')

  def handle_data(self, data):
    self.text += data


HOSTILE = (
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '"><svg onload=alert(1)>',
  "' onmouseover='alert(1)",
  '</script></style></div><iframe srcdoc="x">',
  '<!-- ]]> &lt;b&gt; &#60;u&#62;',
  '$x_{$ {0} %s',
)


def page_of(folder, hostile):
  """A report in which every text, name and label is `hostile`."""
  value = {'mean': 0.5, 'low': 0.4, 'high': 0.6, 'n': 3}
  found = {
    'config': hostile,
    'seconds': {hostile: 3.0, 'sft': 1.0},
    'params': {hostile: 7},
    'reward_accuracy': {hostile: 0.5, 'validation': 0.5, 'pairs': 3},
    'gold_score': {'sft': value, 'ppo_ptx': value, hostile: value},
    'reward_score': {'sft': value, hostile: value},
    'preference': {
      'baseline': hostile,
      'judges': {hostile: {hostile: {'all': value}}},
      'left_out': {hostile: hostile},
    },
    hostile: {'sft': value, hostile: value},
    'kl': {'ppo_ptx': value, hostile: value},
  }
  names = ('objective/kl', 'objective/scores', hostile, f'validation/{hostile}')
  with metrics.Writer(folder / 'ppo', tensorboard=False) as w:
    for step in range(1, 4):
      w.write(step, {name: step / 3 for name in names})
  sample = {
    'prompt': hostile,
    'responses': {hostile: hostile, 'sft': hostile},
    'scores': {hostile: {hostile: 1.0}},
  }
  return report.write_report(folder, found, samples=[sample] * 8).read_text()


def test_no_text_becomes_a_part_of_the_page(tmp_path):
  plain = Page(page_of(tmp_path / 'plain', 'plain'))
  text = page_of(tmp_path / 'hostile', ' '.join(HOSTILE))
  page = Page(text)
  assert page.tags == plain.tags and 'details' in page.tags
  assert page.attributes == plain.attributes
  assert not {'script', 'svg', 'iframe'} & page.tags
  for hostile in HOSTILE:
    assert page.text.count(hostile) >= 8 * 2
  images = text.split('data:image/svg+xml;base64,')[1:]
  assert len(images) == 4
  for image in images:
    svg = base64.b64decode(image.split('"')[0]).decode()
    tags = Page(svg).tags
    assert not {'script', 'iframe', 'img', 'foreignobject'} & tags


def test_escape_codes_do_not_reach_a_terminal(tmp_path):
  hostile = 'a\x1b]0;owned\x07\x1b[2J\x9bm\u202eb\nc'
  shown = progress.printable(hostile)
  assert shown == 'a\\x1b]0;owned\\x07\\x1b[2J\\x9bm\\u202eb\nc'
  assert progress.printable('Été 🌧 ok') == 'Été 🌧 ok'
  path = tmp_path / 'a.jsonl'
  for record in (
    {hostile: 1},
    {'id': hostile},
    {'id': 'a', 'text': [hostile]},
    {'id': 'a', 'text': 't', 'user_id': {hostile: 1}},
    {'id': 'a', 'text': 't', hostile: '\ud800'},
  ):
    path.write_text(json.dumps(record))
    with pytest.raises(records.DataError) as error:
      list(records.read_records(path, 'text'))
    assert str(error.value).isprintable()
  path.write_text((json.dumps({'id': hostile, 'text': 't'}) + '\n') * 2)
  with pytest.raises(records.DataError, match='is that of') as error:
    list(records.read_records(path, 'text'))
  assert str(error.value).isprintable()


def test_ids_name_no_files(tmp_path):
  for i, name in enumerate(('../../x', '/etc/x', 'a/b', '..', 'x\0y', 'CON')):
    folder = tmp_path / str(i) / 'data'
    place = {'tokenizer': byte_tokenizer(), 'folder': folder, 'name': 'p'}
    record = {'id': name, 'prompt': 'p', 'user_id': name, 'source': name}
    made = builders.prepare_prompts([(record, 'a:1')], length=8, **place)
    assert made[0]['id'] == name
    assert {p.name for p in (tmp_path / str(i)).iterdir()} == {'data'}
    assert pathlib.Path(made.folder).parent == folder
