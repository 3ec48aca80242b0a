"""`fit`: what XLA says is read rightly, and arithmetic agrees with it."""

import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from configs import common, presets
from instructgpt_jax import fit, placement, sharding
from instructgpt_jax.fit import (
  analytic,
  chips,
  compile,
  hlo,
  passes,
  phases,
  report,
)
from instructgpt_jax.models import decoder
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.stages import checks, layouts, ppo, session, sft
from instructgpt_jax.stages import reward as reward_stage
from tests.config_files import ROOT, load

HLO = """HloModule m, is_scheduled=true

%cond (p: (s32[], bf16[8,16])) -> pred[] {
  %p = (s32[], bf16[8,16]) parameter(0)
  %limit = s32[]{:T(128)} constant(24)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[] compare(%i, %limit), direction=LT
}

%body (p: (s32[], bf16[8,16])) -> (s32[], bf16[8,16]) {
  %p = (s32[], bf16[8,16]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %step = s32[] constant(STEP)
  %x = bf16[8,16]{1,0} get-tuple-element(%p), index=1
  %next = s32[] add(%i, %step)
  %y = bf16[8,16]{1,0} COLLECTIVE
  ROOT %t = (s32[], bf16[8,16]) tuple(%next, %y)
}

ENTRY %main (a: bf16[8,16]) -> bf16[8,16] {
  %a = bf16[8,16]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %init = (s32[], bf16[8,16]) tuple(%zero, %a)
  %w = (s32[], bf16[8,16]) while(%init), condition=%cond, body=%body
  ROOT %r = bf16[8,16]{1,0} get-tuple-element(%w), index=1
}
"""
SIZE = 8 * 16 * 2  # bytes of bf16[8,16]


@pytest.mark.parametrize(
  'collective, kind, sent',
  [
    ('all-gather(%x), replica_groups=[2,4]<=[8]', 'all-gather', 3 / 4),
    ('all-reduce(%x), replica_groups={{0,1},{2,3}}', 'all-reduce', 1),
    (
      "reduce-scatter(%x), replica_groups=mesh['a'=2,'b'=8] {'b'}",
      'reduce-scatter',
      7,
    ),
    ('all-to-all(%x), replica_groups=[1,8]<=[8]', 'all-to-all', 7 / 8),
    (
      'collective-permute(%x), source_target_pairs={{0,1},{1,0}}',
      'collective-permute',
      1,
    ),
  ],
)
def test_a_collective_counts_as_often_as_its_loop_runs(collective, kind, sent):
  text = HLO.replace('COLLECTIVE', collective).replace('STEP', '1')
  assert hlo.traffic(text).sent == {kind: 24 * sent * SIZE}


def test_several_arrays_in_one_collective_all_count():
  text = HLO.replace('STEP', '1').replace(
    'bf16[8,16]{1,0} COLLECTIVE',
    '(bf16[8,16]{1,0}, bf16[8,16]{1,0}) all-reduce(%x, %x), '
    'replica_groups={{0,1}}',
  )
  assert hlo.traffic(text).sent == {'all-reduce': 24 * 2 * SIZE}


@pytest.mark.parametrize('step, times', [(1, 24), (2, 12), (5, 5)])
def test_an_unrolled_loop_runs_fewer_times(step, times):
  text = HLO.replace('COLLECTIVE', 'collective-permute(%x)')
  text = text.replace('STEP', str(step))
  assert hlo.traffic(text).sent == {'collective-permute': times * SIZE}


def test_what_xla_says_of_a_loop_goes_first():
  text = HLO.replace('COLLECTIVE', 'collective-permute(%x)')
  text = text.replace('STEP', '1').replace(
    'body=%body', 'body=%body, backend_config={"known_trip_count":{"n":"3"}}'
  )
  assert hlo.traffic(text).sent == {'collective-permute': 3 * SIZE}


def test_a_loop_that_nothing_bounds_is_reported():
  text = HLO.replace('COLLECTIVE', 'collective-permute(%x)')
  text = text.replace('s32[]{:T(128)} constant(24)', 's32[] parameter(1)')
  assert hlo.traffic(text) == hlo.Traffic({'collective-permute': SIZE}, 1)


def test_one_transfer_in_several_fusions_is_one():
  text = HLO.replace('STEP', '1').replace(
    'COLLECTIVE',
    'collective-permute(%x), channel_id=7\n'
    '  %again = bf16[8,16]{1,0} collective-permute(%x), channel_id=7',
  )
  assert hlo.traffic(text).sent == {'collective-permute': 24 * SIZE}


def test_several_transfers_in_one_are_all_counted():
  pair = '(bf16[8,16]{1,0:T(8,128)(2,1)}, f32[8,16]{1,0:T(8,128)S(1)})'
  for name, result, sent in (
    ('all-reduce', pair, 1.5),
    ('all-reduce-start', pair, 1.5),
    ('all-gather', pair, 0.75),
    ('all-gather-start', f'((bf16[2,16], f32[2,16]), {pair})', 0.75),
  ):
    text = HLO.replace('STEP', '1').replace(
      'bf16[8,16]{1,0} COLLECTIVE',
      f'{result} {name}(%x, %z), replica_groups=[4,2]<=[8]',
    )
    kind = name.removesuffix('-start')
    assert hlo.traffic(text).sent == {kind: 24 * sent * 2 * SIZE}, name


# As libtpu 0.0.42.1 writes them, without layouts of memory.
SCATTERS = """
%all-reduce-scatter.clone.1 (input.17: bf16[2,1024,1024]) -> bf16[2,256,1024] {
  %input.17 = bf16[2,1024,1024]{2,1,0:T(8,128)(2,1)S(1)} parameter(0)
  %all-reduce.86 = bf16[2,1024,1024]{2,1,0:T(8,128)(2,1)} all-reduce(%input.17)\
, channel_id=12, replica_groups={{0,1,2,3},{4,5,6,7}}, \
use_global_device_ids=true, to_apply=%add.1.clone
  %constant.1220 = u32[] constant(0)
  %multiply.215 = u32[]{:T(128)} parameter(1)
  ROOT %dynamic-slice.428 = bf16[2,256,1024]{2,1,0:T(8,128)(2,1)S(1)} \
dynamic-slice(%all-reduce.86, %constant.1220, %multiply.215, %constant.1220)
}

ENTRY %main (a: bf16[2,1024,1024]) -> bf16[2,256,1024] {
  %a = bf16[2,1024,1024]{2,1,0} parameter(0)
  ROOT %fusion.418 = bf16[2,256,1024]{2,1,0:T(8,128)(2,1)S(1)} \
fusion(%a), kind=kCustom, calls=%all-reduce-scatter.clone.1
}
"""


def test_a_sum_of_which_each_chip_keeps_its_part_counts_once():
  sent = {'reduce-scatter': 2 * 1024 * 1024 * 2 * 3 / 4}
  assert hlo.traffic(SCATTERS).sent == sent
  (found,) = hlo.transfers(SCATTERS)
  assert found.kind == 'reduce-scatter' and not found.looped
  plain = SCATTERS.replace('all-reduce-scatter', 'fused_computation')
  twice = {'all-reduce': 2 * sent['reduce-scatter']}
  assert hlo.traffic(plain).sent == twice


def test_the_half_that_waits_sends_nothing():
  text = HLO.replace('STEP', '1').replace(
    'COLLECTIVE',
    'collective-permute-done(%s)\n'
    '  %s = (bf16[8,16], bf16[8,16], u32[]) collective-permute-start(%x)',
  )
  assert hlo.traffic(text).sent == {'collective-permute': 24 * SIZE}


@pytest.mark.parametrize(
  'shape, size',
  [('f32[]', 4), ('pred[3]', 3), ('s4[4]', 2), ('(f32[2], u8[64]{0})', 64)],
)
def test_bytes_of_a_shape(shape, size):
  assert hlo.shape_bytes(shape) == size


def test_a_real_program_is_read_on_emulated_devices():
  mesh = sharding.make_mesh(devices=jax.devices()[:8])
  layout = placement.batch_sharding(mesh)

  @jax.jit
  def five_sums(x):
    return jax.lax.fori_loop(0, 5, lambda _, c: c + x.sum(0), jnp.zeros(64))

  x = jax.ShapeDtypeStruct((8, 64), jnp.float32, sharding=layout)
  text = five_sums.lower(x).compile().as_text()
  found = hlo.traffic(text)
  once = 2 * 64 * 4 * 7 / 8  # XLA may take the sum out of the loop
  assert found.sent['all-reduce'] in {once, 5 * once}
  assert found.unknown == 0


# --- arithmetic


@pytest.mark.parametrize('gated, kv_heads', [(False, 4), (True, 2)])
def test_forward_flops_are_what_xla_counts(gated, kv_heads):
  cfg = ModelConfig(
    vocab_size=512,
    layers=2,
    width=64,
    heads=4,
    kv_heads=kv_heads,
    mlp_width=256,
    gated=gated,
    max_length=64,
  )
  model = decoder.LanguageModel(cfg)
  params = jax.eval_shape(lambda: decoder.init_params(model, jax.random.key(0)))

  def logits(params, tokens):
    hidden, _ = model.apply({'params': params}, tokens)
    return decoder.logits(hidden, decoder.unembedding(params, cfg))

  tokens = jax.ShapeDtypeStruct((3, 64), jnp.int32)
  counted = jax.jit(logits).lower(params, tokens).cost_analysis()['flops']
  ours = passes.forward(cfg, 3, 64, 64, 3 * 64)
  assert ours == pytest.approx(counted, rel=0.05)
  assert ours < counted  # norms, softmax and the like are left out
  half = passes.forward(cfg, 3, 64, 32, 3 * 64)
  assert ours - half == 2 * 4 * (3 * 64) * 32 * 64  # layers, q k and p v


@pytest.mark.parametrize('recompute', [True, False])
def test_scoring_counts_the_passes_that_run_and_no_unread_prompts(recompute):
  found = _session()
  found.config.ppo.recompute_logp = recompute
  found.config.ppo.rollout_rows, found.config.ppo.chunk = 0, 4096
  ours = 8 * analytic.work(found, 'score', chips.parse('cpu:8')).done
  lowered = phases.of(found, 'score').lower(found)
  counted = lowered.cost_analysis()['flops']  # norms and the like as well
  assert 0.88 * counted < ours < counted


def test_the_figures_of_chips_are_plausible():
  for name, chip in chips.CHIPS.items():
    if name == 'cpu':
      continue
    assert 1e14 < chip.flops < 1e15
    assert 15 * chips.GIB < chip.memory <= 141e9
    assert 100 < chip.flops / chip.bandwidth < 700  # FLOPs per byte read
    assert chip.bandwidth > chip.links > (chip.network or 0)
  assert not chips.CHIPS['h100'].tpu and chips.CHIPS['v6e'].tpu


def test_slices_are_read_and_wrong_ones_named():
  assert chips.parse('v5p:8x8x8').chips == 512
  assert chips.parse('v5e:4x4').compiled
  assert not chips.parse('h100:8').compiled
  near, far = chips.parse('h100:8'), chips.parse('h100:64')
  assert near.links > far.links == 50e9
  for wrong in ('v5e', 'v5e:4x4x4', 'v9:2x2', 'h100:0', 'v5p:8x8'):
    with pytest.raises(ValueError, match=f'--fit={wrong}: '):
      chips.parse(wrong)


def _session(**mesh):
  config = presets.smoke()
  config.sft.select = 'validation_loss'
  config.mesh.update(mesh)
  devices = layouts.mesh(config.mesh)
  return session.Session(config, None, devices, phases.Vocabulary(768))


def _work(phase, slice_name='cpu:8', *, mesh=None, model=None, **change):
  found = _session(**(mesh or {}))
  for block in (found.config.model, found.config.reward_model):
    block.update(model or {})
  for key, value in change.items():
    found.config.ppo[key] = value
  return analytic.work(found, phase, chips.parse(slice_name))


def test_gradients_cost_twice_and_a_checkpoint_once_more():
  plain, full = (
    _work('reward', model=dict(remat=kind)) for kind in ('none', 'full')
  )
  assert full.flops == plain.flops
  assert full.done == pytest.approx(plain.done * 4 / 3)
  assert full.temporary < plain.temporary


def test_what_is_kept_by_name_is_not_done_again():
  def done(kind, saved=('qkv',)):
    return _work('reward', model=dict(remat=kind, remat_saved=saved))

  full, some, more = (
    done('full'),
    done('names'),
    done('names', ('qkv', 'attention', 'mlp')),
  )
  assert full.done > some.done > more.done > done('none').done
  assert full.temporary < some.temporary < more.temporary
  # On the host it takes no room, and crosses PCIe there and back.
  away = done('offload')
  assert away.done == some.done and away.temporary < some.temporary
  layers, tokens, qkv = 2, 16 * 5 * 48 / 8, 3 * 32
  assert away.hosted == 2 * layers * tokens * qkv * 4
  assert some.hosted == 0


def test_kernels_write_no_scores_and_skip_what_is_masked():
  long = dict(max_length=2048, attention='auto', dtype='bfloat16')
  found = _session()
  found.config.model.update(long)
  found.config.data.row_length = 2048
  found.config.sft.chunk = 128
  kernel, plain = (
    analytic.work(found, 'sft', chips.parse(name))
    for name in ('v5e:2x4', 'cpu:8')
  )
  assert kernel.flops == plain.flops < kernel.done < plain.done
  assert kernel.moved < plain.moved and kernel.temporary < plain.temporary


def test_moments_in_bfloat16_are_read_at_half():
  half = _session()
  whole = analytic.work(half, 'reward', chips.parse('cpu:8'))
  half.config.reward.optimizer.moments_dtype = 'bfloat16'
  less = analytic.work(half, 'reward', chips.parse('cpu:8'))
  weights = sum(
    x.size for x in jax.tree.leaves(phases.of(half, 'reward').args[0].params)
  )
  assert whole.moved - less.moved == 2 * 2 * 2 * weights  # two, there and back


def test_a_token_reads_the_weights_as_they_lie_while_it_is_written():
  mesh = dict(data=1, fsdp=4, tensor=2)
  few = _work('generate', mesh=mesh)
  many = _work('generate', mesh=mesh, rollout_rows=1)
  config = presets.smoke()
  steps, parts = config.data.response_length - 1, 8
  copy = _work('layout', mesh=mesh).temporary
  # Whole but for tensor, read once per step of each slice, never gathered.
  found = _session(**mesh)
  params = phases.of(found, 'layout').args[0]
  assert copy < 4 * sum(x.size for x in jax.tree.leaves(params)) < 2.2 * copy
  more = (many.moved - few.moved) / ((parts - 1) * steps)
  assert more == pytest.approx(copy, rel=0.35)  # and once per prefill
  found.config.mesh.decode_rules = common.DECODE_SPREAD
  spread = analytic.work(found, 'layout', chips.parse('cpu:8'))
  assert spread.temporary < copy / 3


@pytest.mark.parametrize('phase', phases.STAGE_OF)
def test_bytes_held_are_those_of_the_arguments(phase):
  found = _session(fsdp=4, tensor=2, data=1)
  made = phases.of(found, phase)
  used = {id(leaf) for leaf in jax.tree.leaves(made.args)}
  held = {id(leaf) for leaf in jax.tree.leaves(made.memory)}
  # The counters of a state are not worth a name.
  left = [x for x in jax.tree.leaves(made.args) if id(x) in used - held]
  assert all(x.size < 1_000_000 // 8 for x in left)
  assert analytic.shard_bytes(made.memory) > 0
  whole = jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=_over_fsdp(found))
  assert analytic.shard_bytes(whole) == 8 * 4 * 4 / 4


def _over_fsdp(found):
  spec = jax.sharding.PartitionSpec('fsdp')
  return jax.sharding.NamedSharding(found.mesh, spec)


# --- what XLA says when it is too much

EXHAUSTED = """RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of \
memory in memory space hbm. Used 35.07G of 15.75G hbm. Exceeded hbm capacity \
by 19.32G.

Total hbm usage >= 35.32G:
    reserved        258.00M 
    program          32.93G 
    arguments         2.14G 

Largest program allocations in hbm:

  1. Size: 8.00G
     Operator: op_name="jit(update)/while/dot" source_file="x.py"
     Shape: bf16[32,2048,65536]{2,1,0:T(8,128)(2,1)}
     Unpadded size: 8.00G
"""


def test_an_exhausted_compiler_is_read():
  found = compile.exhausted(EXHAUSTED)
  assert found['capacity'] == 15.75 * chips.GIB
  assert found['memory']['arguments'] == 2.14 * chips.GIB
  assert found['memory']['temporaries'] == 32.93 * chips.GIB
  ((name, size),) = found['largest']
  assert size == 8 * chips.GIB
  assert 'bf16[32,2048,65536]' in name and 'jit(update)/while/dot' in name
  assert compile.exhausted('INTERNAL: a bug') is None


def test_temporaries_that_alone_are_too_much_are_read():
  found = compile.exhausted(
    'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required '
    'for HLO temporaries (18.00G) exceeds available HBM (15.75G).'
  )
  assert found['memory']['temporaries'] == 18 * chips.GIB
  assert found['capacity'] == 15.75 * chips.GIB


def _entry(held, temporaries, **change):
  memory = {
    'arguments': 2.0 * chips.GIB,
    'temporaries': temporaries * chips.GIB,
    'outputs': 2.0 * chips.GIB,
    'aliased': 2.0 * chips.GIB,
    'code': 0.0,
  }
  result = {'memory': memory, 'sent': {}, 'unknown_loops': 0} | change
  work = passes.Work(flops=1e12, done=2e12, moved=1e9)
  return report.entry('update', chips.parse('v5e:2x2'), held, work, result)


def test_what_waits_beside_a_program_counts():
  fits = _entry({'weights': 9.0 * chips.GIB}, 6)  # 2 + 7 + 6 + 2 - 2
  assert fits['memory']['elsewhere'] == 7 * chips.GIB
  assert fits['memory']['total'] == 15 * chips.GIB
  assert fits['fits'] and fits['bound'] == 'compute'
  larger = _entry({'weights': 11.0 * chips.GIB}, 6)
  assert not larger['fits']
  text = report.verdict({'slice': 'v5e:2x2', 'phases': [larger]})
  assert 'does NOT fit on v5e:2x2' in text
  assert '17.00 GiB of 15.75 GiB' in text
  assert text.index('weights') < text.index('temporaries')


def test_a_compiler_that_gave_up_is_no_fit():
  found = _entry({}, 1, error='RESOURCE_EXHAUSTED: ...')
  assert not found['fits']


# --- the whole


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  return tmp_path / 'instructgpt_jax' / 'fit'


def _tiny(stages=('reward',)):
  config = presets.smoke()
  config.stages = stages
  for model in (config.model, config.reward_model):
    model.update(dict(layers=2, width=16, heads=2, mlp_width=32))
    model.scan_layers = True
  config.mesh.update(dict(data=2, fsdp=2, tensor=2))
  return config


def test_a_stand_in_slice_is_compiled_once_and_kept(cache, tmp_path, capsys):
  path = tmp_path / 'fit.json'
  found = fit.run(_tiny(), 'cpu:8', str(path))
  assert json.loads(path.read_text()) == found
  (phase,) = found['phases']
  assert phase['compiled'] and phase['fits'] and not phase['cached']
  memory = phase['memory']
  # The state is donated: it goes out where it came in.
  assert memory['aliased'] > 0.9 * memory['outputs'] > 0
  assert {'all-gather', 'all-reduce'} & set(phase['bytes_sent'])
  assert 'every phase fits on cpu:8' in capsys.readouterr().out
  again = fit.run(_tiny(), 'cpu:8')['phases'][0]
  assert again['cached'] and again['memory'] == memory
  assert len(list(cache.glob('*.json'))) == 1
  other = _tiny()
  other.reward.microbatch_rows = 1
  lowered = _lowered(other)
  assert not compile.result(lowered, chips.parse('cpu:8'), cache)['cached']


def _lowered(config):
  mesh = layouts.mesh(config.mesh)
  found = session.Session(config, None, mesh, phases.Vocabulary(768))
  return phases.of(found, 'reward').lower(found)


def test_a_damaged_result_is_made_anew(cache):
  cache.mkdir(parents=True)
  lowered, target = _lowered(_tiny()), chips.parse('cpu:8')
  first = compile.result(lowered, target, cache)
  (path,) = cache.glob('*.json')
  path.write_text('{')
  second = compile.result(lowered, target, cache)
  assert not second['cached'] and second['memory'] == first['memory']


def test_gpus_get_arithmetic_and_say_so(cache, capsys):
  config = _tiny(('sft', 'reward', 'ppo'))
  config.sft.select = 'last'
  found = fit.run(config, 'h100:8')
  assert [p['phase'] for p in found['phases']] == list(phases.STAGE_OF)
  assert not any(p['compiled'] for p in found['phases'])
  assert 'not compiled' in capsys.readouterr().out
  assert not cache.exists()


def test_what_waits_on_the_host_is_no_chip_s(cache):
  config = _tiny(('reward', 'ppo'))
  config.ppo.update(dict(batch_size=32, minibatch_size=8, rollout_rows=2))
  here = fit.run(config, 'h100:8')['phases']
  config.offload.update(dict(optimizer=True, frozen=True))
  there = fit.run(config, 'h100:8')['phases']
  for phase, old in zip(there, here, strict=True):
    memory, before = phase['memory'], old['memory']
    assert memory['host'] > 0 == before['host'] == old['bytes_fetched']
    moved = before['total'] - memory['total']
    assert moved == pytest.approx(memory['host'])
  reward, layout, generate, score, update = there
  # Four updates; two moments of both networks, there and back.
  assert reward['bytes_fetched'] == 2 * reward['memory']['host']
  assert layout['bytes_fetched'] == generate['bytes_fetched'] == 0
  parts = 4  # 8 rows on each of 4 ways, two at a time
  frozen = score['bytes_fetched'] / parts
  moments = score['memory']['host'] - frozen
  assert update['bytes_fetched'] == pytest.approx(2 * 4 * moments)
  # Two moments of the policy and of the value net, one copy of either.
  assert moments == pytest.approx(2 * frozen, rel=0.01)
  assert update['seconds']['host'] == update['bytes_fetched'] / 64e9


def test_a_batch_that_does_not_divide_is_no_fit(cache):
  config = _tiny()
  config.mesh.update(dict(data=8, fsdp=1, tensor=1))
  config.reward.batch_size = 12
  (phase,) = fit.run(config, 'h100:8')['phases']
  assert not phase['fits']
  assert 'reward.batch_size 12 is not divisible' in phase['error']


def test_settings_are_checked_as_for_a_run(cache, capsys):
  config = _tiny()
  config.mesh.rules = (*config.mesh.rules, ('heds', 'tensor'))
  config.model.attention = 'splash'
  with pytest.raises(ValueError, match='cannot run') as found:
    fit.run(config, 'h100:8')
  first, second = str(found.value).splitlines()[1:]
  assert "no array has an axis 'heds'" in first
  assert 'model.attention' in second and 'these devices are gpu' in second
  config = _tiny()
  config.model.update(heads=3, head_size=16)
  config.reward_model.update(heads=3, head_size=16)
  config.mesh.replicated_above_mb = 0.001
  fit.run(config, 'h100:8')
  assert (
    'warning: heads 3 does not divide over tensor' in capsys.readouterr().out
  )


@pytest.mark.parametrize(
  ('preset', 'platform'),
  [('1.3b', 'tpu'), ('6b', 'tpu'), ('175b', 'tpu'), ('', 'cpu')],
)
def test_presets_pass_the_checks_without_files(preset, platform):
  config = load('ppo_ptx', preset)
  mesh = sharding.make_mesh()
  assert not list(checks.settings(config, mesh, platform))


def test_without_libtpu_the_extra_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"pip install 'jax\[tpu\]'"):
    fit.run(_tiny(), 'v5e:2x2')


def test_a_tiny_slice_is_compiled_where_libtpu_is(cache, tmp_path):
  """In a process of its own: libtpu is never loaded beside other tests."""
  split = common.split_stream()
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'instructgpt_jax.main', '--fit=v5e:2x2'),
      '--config=configs/ppo_ptx.py:smoke',
      "--config.stages=('reward',)",
      *('--config.mesh.data=1', '--config.mesh.fsdp=2'),
      *('--config.mesh.tensor=2', f'--config.mesh.rules={split}'),
      f'--fit_json={tmp_path / "fit.json"}',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  if importlib.util.find_spec('libtpu') is None:
    print('no libtpu here: only that its absence is said can be shown')
    assert done.returncode == 1
    assert done.stderr.startswith('error: --fit=v5e:2x2 needs libtpu')
    return
  assert done.returncode == 0, done.stderr[-3000:]
  (phase,) = json.loads((tmp_path / 'fit.json').read_text())['phases']
  assert phase['compiled'] and phase['fits']
  # A stream split over its length is gathered and summed; heads of attention
  # stay where they are, up to what little else moves.
  sent = phase['bytes_sent']
  assert sent.get('all-to-all', 0) < sent['all-gather'] / 4


def test_shapes_are_those_of_real_batches():
  found = _session()
  b, row = found.config.sft.batch_size, found.config.data.row_length
  rows, text = sft.batch_shapes(found)
  assert rows.tokens.shape == (b, row)
  assert text.tokens.shape == (found.config.sft.pretrain_rows, row)
  k, length = found.config.reward.completions, 48
  assert reward_stage.batch_shapes(found).tokens.shape == (16, k, length)
  assert ppo.batch_shapes(found).prompts.tokens.shape == (32, 24)
  assert ppo.batch_shapes(found).pretrain.tokens.shape == (32, row)
  filled = _session(data=2, fsdp=4)
  filled.config.sft.pretrain_rows = 3
  filled.config.sft.batch_size = 12
  rows, text = sft.batch_shapes(filled)
  assert rows.tokens.shape == (16, row) and text.tokens.shape == (8, row)
