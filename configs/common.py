"""The full list of knobs, and the inputs that the experiments share.

Every key that any stage reads is set here once. Values of the paper carry
their section; *ours* marks what the paper leaves open or what is chosen for
the embedded world. Learning rates are peaks; batches are global.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def gpt(**overrides) -> ConfigDict:
  """Returns the settings of one decoder, GPT-2's and GPT-3's if not changed.

  Every setting of `instructgpt_jax.models.ModelConfig`, where each is
  explained: any family can be written down, and trained from nothing. A
  folder of open weights fills them in by itself.
  """
  model = ConfigDict(
    dict(
      # A GPT-3 size ('125m' ... '175b') in place of the next four, or 'init':
      # all of these are those of the folder that config.init names.
      preset='',
      layers=4,  # ours
      width=128,  # ours
      heads=4,  # ours
      mlp_width=512,  # 4 x width (GPT-3 2.1)
      kv_heads=placeholder(int),  # none: heads
      head_size=placeholder(int),  # none: width / heads
      embed_width=placeholder(int),  # none: width
      vocab_size=0,  # 0: the tokenizer's
      vocab_multiple=1,  # ours: tables get rows of zeros up to a multiple of it
      max_length=64,  # the paper has 2048
      # Norms.
      norm='layer',  # or 'rms'
      norm_eps=1e-5,
      norm_bias=True,
      norm_offset=0.0,
      norm_placement='pre',  # or 'post', 'both'
      parallel=False,
      # Positions.
      positions='learned',  # or 'rotary'
      position_offset=0,
      rotary_base=10_000.0,
      rotary_size=placeholder(int),  # none: the whole head
      rotary_scaling=dict(
        kind='',  # 'linear', 'llama3', 'yarn'; '' is off
        factor=1.0,
        original_length=placeholder(int),
        low_frequency=1.0,
        high_frequency=4.0,
        beta_fast=32.0,
        beta_slow=1.0,
        attention_factor=placeholder(float),
        truncate=True,
      ),
      local_rotary_base=placeholder(float),
      # Attention.
      windows=(),  # dense; GPT-3 alternates dense and banded, width unpublished
      qk_norm=False,
      query_scale=placeholder(float),  # none: head_size ** -0.5
      attention_softcap=0.0,
      logits_softcap=0.0,
      # MLP and biases.
      activation='gelu_tanh',
      gated=False,
      use_bias=True,
      qkv_bias=placeholder(bool),  # none: use_bias, as the next two
      out_bias=placeholder(bool),
      mlp_bias=placeholder(bool),
      # Embeddings.
      tied=True,
      embed_scale=1.0,
      embed_init=0.05,  # ours: GPT-2's 0.02 is too small at width 128
      position_init=0.05,  # ours
      # How it is computed.
      dtype='float32',  # of activations
      param_dtype='float32',
      scan_layers=False,
      remat='none',  # or 'full', 'dots', 'names', 'offload'
      # ours; 'mlp' is another: what 'names' keeps, 'offload' on the host
      remat_saved=('qkv', 'attention'),
      attention='auto',  # or 'xla', 'cudnn', 'splash'
    )
  )
  model.update(overrides)
  return model


# What the axes of weights and activations mean on a mesh: (logical axis, mesh
# axis or axes, None = whole on every device). Where the mesh axes do not
# divide a size, the last of them is left out.
RULES = (
  # Weights. 'embed' is the axis every matrix has, so it carries fsdp.
  ('embed', 'fsdp'),
  ('heads', 'tensor'),
  ('mlp', 'tensor'),
  ('vocab', 'tensor'),
  ('kv', None),  # size of a head
  ('position', None),
  ('rank', None),  # of adapters
  ('layers', None),  # the axis a scan runs over
  ('norm', None),  # vectors of the width: too small to be worth gathering
  # Activations. The batch takes three axes; fsdp holds no copy of it.
  ('act_batch', ('replica', 'data', 'fsdp')),  # where they meet weights
  ('act_rows', ('replica', 'data', 'fsdp')),  # attention, cache, logits
  # 'tensor': between blocks the stream is split over its length, which saves
  # memory where 'tensor' is above 1 (sequence parallelism).
  ('act_stream_length', None),
  ('act_length', None),  # inside of attention and MLP
  ('act_embed', None),
  ('act_heads', 'tensor'),
  ('act_mlp', 'tensor'),
  ('act_vocab', 'tensor'),
  # The embedding table while rows are read from it: gathered whole. Split
  # both ways, it would make the partitioner replicate what was read.
  ('act_lookup_vocab', None),
  ('act_lookup_embed', None),
)
# What is different while a policy writes. Each weight is used once per token:
# it must lie where it is used, for gathering it would cost more than the work.
# Here: whole but for 'tensor', 2 bytes x weights / tensor per chip in bf16
# (1.3b: 2.6 GB; 6.7b: 13.4 GB; 175b: 350 GB).
DECODE_RULES = (('embed', None), ('act_lookup_vocab', 'tensor'))
# For weights too large for that: they stay over fsdp and tensor, and what is
# moved instead is the stream, whose width lies over fsdp (Pope et al. 2022,
# 2211.05102: 2D weight-stationary). Rows of attention stay over fsdp.
DECODE_SPREAD = (
  ('act_batch', ('replica', 'data')),
  ('act_embed', 'fsdp'),
  ('act_lookup_vocab', 'tensor'),
  ('act_lookup_embed', 'fsdp'),
)


def split_stream() -> tuple:
  """Returns RULES with the stream split over its length by 'tensor'."""
  return tuple((dict(RULES) | {'act_stream_length': 'tensor'}).items())


def mesh() -> ConfigDict:
  """Returns the layout of weights and batches over the devices."""
  return ConfigDict(
    dict(
      replica=1,  # outermost, over slices: a multiple of their number
      data=-1,  # -1: the rest
      fsdp=1,
      tensor=1,
      # What is to hold whole replicas: 'node' is a machine with GPUs, however
      # many processes it runs, 'process' each process.
      granule='slice',
      rules=RULES,
      decode_rules=DECODE_RULES,  # those that differ while a policy writes
      # Weights of more MB that lie whole on every chip, though fsdp or tensor
      # is above 1, are named at the start: 'warn', or stop with an 'error'.
      replicated_above_mb=64.0,
      replicated='warn',
    )
  )


def adam(**overrides) -> ConfigDict:
  """Returns an optimizer with its schedule."""
  adam = ConfigDict(
    dict(
      peak=1e-3,
      schedule='cosine',
      warmup=0,  # updates
      warmup_from=0.0,  # share of the peak
      final=0.1,  # share of the peak: "cosine to 10%" (C.1)
      b1=0.9,  # C
      b2=0.95,  # C
      eps=1e-8,  # not in the paper
      weight_decay=0.0,  # not in the paper
      clip_norm=1.0,  # not in the paper; 0 is off
      # ours; 'bfloat16' halves the two moments, all sums stay float32
      moments_dtype='float32',
    )
  )
  adam.update(overrides)
  return adam


def curation() -> ConfigDict:
  """Returns how raw records become the data sets (docs/curation.md)."""
  return ConfigDict(
    dict(
      # JSON Lines (.gz, .zst too), Parquet or folders of Hugging Face
      # datasets, for data.source 'jsonl'; the world brings its own log.
      files=(),
      schema='',  # of a public set (data/curation/public.py); '': our fields
      fields=dict(),  # {name there: name here}
      workers=0,  # processes; 0: one per core
      block=10_000,  # records that one worker has at a time
      examples=5,  # of what was removed, per reason, in the report
      # Shares of users, ours; the rest trains. With `given` a record that
      # names its split in a field `split` is of that one.
      split=dict(validation=0.05, test=0.05, given=False),
      cap_per_user=200,  # prompts (3.2); 0 is off
      normal=dict(on=True, form='NFC', whitespace=True),
      duplicates=dict(
        exact=True,
        # Characters of a common beginning that make two prompts one, 0 is
        # off; the paper (3.2) does not say how many.
        prefix=100,
        near=False,  # by MinHash over words
        near_threshold=0.8,  # of the Jaccard similarity
        near_permutations=128,
        near_words=5,  # in a row
      ),
      # Personal data: records are dropped, or it is masked in them.
      personal=dict(
        action='drop',  # or 'mask', 'off'
        splits=('train',),  # (3.2)
        kinds=('email', 'phone', 'card', 'iban', 'ip', 'ssn', 'name', 'key'),
        extra='',  # or 'presidio', 'scrubadub', to be installed besides
      ),
      language=dict(on=True, keep=()),  # codes to keep, () is all
      # Most tokens, 0: those of data.prompt_length and data.response_length.
      length=dict(prompt=0, response=0),
      # K pairs under one instruction -> K records (A.1).
      shots=dict(on=True, separator='\n\n'),
      # Files of evaluation sets: what shares so many words in a row with them
      # (GPT-3, C: 13), in at least that share of its words, is removed.
      contamination=dict(
        files=(), words=13, share=0.0, splits=('train', 'validation')
      ),
      # The use cases of Table 1: from the field, else by a classifier that is
      # trained on labelled files, where it is that sure.
      category=dict(on=True, train=(), confidence=0.0),
      # Weights of what training reads: {value: weight}, 1 if not named.
      mix=dict(category=dict(), source=dict(), kind=dict()),
    )
  )


def label() -> ConfigDict:
  """Returns how people are asked (docs/labeling.md); all of it is ours but
  where a section stands."""
  return ConfigDict(
    dict(
      host='127.0.0.1',  # a proxy with TLS stands before it
      port=8000,  # 0: any that is free
      https=False,  # cookies for TLS alone, behind a proxy that speaks it
      url='',  # postgresql://USER@HOST/NAME; '': SQLite in DIR/labeling
      # JSON Lines (.gz, .zst too) that `:import` and the first start read.
      files=(),
      use='work',  # of files; or 'screening', 'gold': their answers are known
      # What is asked of what is imported; 'comparison' is of two models.
      kinds=('rating', 'ranking'),
      completions=(2, 9),  # fewest and most per prompt (A.3)
      archive='',  # file of `:backup` and `:restore`; folder of `:export`
      guidelines='',  # a text file in place of ours
      screening_tasks=10,  # 0: nobody is screened
      screening_agreement=0.75,  # B.1
      lease_minutes=60.0,
      overlap_share=0.2,  # of prompts that several labelers get
      overlap_copies=3,  # how many
      gold_share=0.05,  # of tasks whose answer is known
      # Of invited labelers: no training data, no screening. And of the prompts
      # that several get, which are then theirs alone.
      heldout_share=0.2,
      without_blocked=False,  # leave answers of the blocked out of exports
      labeler_budget=0,  # most answers of one labeler, 0: no limit
      total_budget=0,  # most answers of all
      text_limit=20_000,  # most characters of a demonstration
      session_hours=12.0,
      invitation_days=14.0,
      login_attempts=10,  # failures within login_minutes
      login_minutes=15.0,
      request_kb=256,  # largest request
      import_mb=64,  # largest upload
    )
  )


def base() -> ConfigDict:
  """Returns PPO-ptx in the embedded world, sized for two CPU cores."""
  config = ConfigDict()
  config.name = 'ppo_ptx'
  config.preset = ''  # what stood after the colon of --config
  config.seed = 0
  # Where compiled programs are kept: in the run folder, unless the path is
  # absolute; '' is nowhere. JAX_COMPILATION_CACHE_DIR comes first.
  config.cache = 'cache'
  config.debug = False  # slow: names the layer where NaN or inf begins
  config.stages = ('pretrain', 'sft', 'collect', 'reward', 'ppo', 'evaluate')
  config.mesh = mesh()
  # What waits in the memory of the hosts, and comes to a device layer by layer:
  # the moments of every optimizer; PPO's reference and reward model.
  config.offload = ConfigDict(dict(optimizer=False, frozen=False))  # ours
  # Where a stage that is not run takes its input from: a folder that holds
  # `params/`, such as RUN/sft, or a model folder of transformers.
  config.init = ConfigDict(
    dict(
      run='',  # one run for all of them
      policy='',  # what the policy starts from: base, or sft where sft is done
      base='',
      sft='',
      reward='',
      reward_base='',  # a language model for the reward model to start from
      value='',  # the value net starts here, not from the reward model
      collect='',  # who answers for labelers: '' is the SFT model
    )
  )
  config.model = gpt()
  config.reward_model = gpt()
  # Rank above 0: SFT, reward model and PPO train adapters of that rank beside
  # frozen weights. Targets: q, k, v, out, gate, mlp_in, mlp_out.
  config.lora = ConfigDict(dict(rank=0, alpha=16.0, targets=('q', 'v')))  # ours
  config.tokenizer = ConfigDict(
    dict(
      # 'train' a BPE, 'gpt2' from encoder and merges, or a local 'folder':
      # where that is empty, the folder the policy comes from.
      kind='train',
      vocab_size=768,
      encoder='',
      merges='',
      folder='',
      eos='',  # the token that ends a text, where a folder names none
    )
  )
  config.data = ConfigDict(
    dict(
      source='world',  # or 'jsonl'
      world=dict(
        text=46_000,  # documents of about 35 tokens
        demonstrations=18_000,
        prompts=20_000,
        heldout_text=1_000,
        heldout_prompts=1_000,
      ),
      # JSON Lines (.gz too) by the schemas of docs/data.md, for 'jsonl'.
      files=dict(
        text=(), demonstrations=(), comparisons=(), prompts=(), heldout=()
      ),
      # Sources of text to train on, e.g. (('books*', 0.7), ('wiki*', 0.3)):
      # patterns of names in files.text, and how often rows of each are read.
      # () packs all files together and reads each row as often as the others.
      text_weights=(),
      validation_share=0.05,  # of users (or prompts) kept out of training
      row_length=64,  # of packed rows
      prompt_length=24,
      response_length=16,
      over_length='drop',  # or 'truncate_left': what befalls a long prompt
      chat=False,  # prompts are messages, by the tokenizer's chat template
      learn_prompt=False,  # loss on the prompt of a demonstration as well
    )
  )
  config.curate = curation()
  config.pretrain = ConfigDict(
    dict(
      tokens=1_500_000,
      batch_size=16,
      optimizer=adam(peak=3e-3, warmup=20, weight_decay=0.1),
      dropout=0.0,
      # The most rows of a batch that one device takes at a time, 0 for all of
      # its own: memory follows the mesh, the update is the same.
      microbatch_rows=0,
      chunk=256,
      log_every=20,
      evaluate_every=500,
      save_every=500,
    )
  )
  config.sft = ConfigDict(
    dict(
      epochs=2,
      batch_size=32,
      pretrain_rows=8,  # rows of text beside each batch; the paper mixes 10%
      pretrain_coef=0.2,  # ours, on the mean-per-token loss
      optimizer=adam(peak=1e-3),
      dropout=0.0,  # ours; 0.2 in the paper's baselines (C.1)
      # 'reward' where init gives a reward model, else 'validation_loss';
      # 'auto' takes the first that can be had, 'last' chooses nothing.
      select='auto',
      microbatch_rows=0,  # of the mixed-in text as well
      chunk=256,
      log_every=20,
      evaluate_every=200,
      save_every=200,
    )
  )
  config.collect = ConfigDict(
    dict(
      prompts=4_400,
      completions=(5, 5),  # fewest and most per prompt; K = 4..9 in the paper
      skip=0,  # of the first prompts: those that earlier rounds have used
      temperature=1.0,
      batch_size=512,
      # 'web': people, through the labelling application (docs/labeling.md), in
      # the run's folder or at `url`.
      labelers='simulated',
      url='',
      enough=0.9,  # ours: prompts with a training ranking; then the run goes on
      poll=20.0,  # ours: seconds between two looks at what has come
    )
  )
  config.reward = ConfigDict(
    dict(
      epochs=1,  # C.2
      batch_size=32,  # prompts; 64 in the paper (C.2)
      completions=5,  # most per prompt that are read; 9 in the paper (A.3)
      sequence_length=48,
      optimizer=adam(peak=5e-4),
      dropout=0.0,
      validation_share=0.1,
      # Never trained on, validated apart; so is who is in their group.
      heldout_labelers=(),
      microbatch_rows=0,  # in prompts, with all their completions
      # ours; of these the most that are read at a time, 0 for all. Fewer take
      # less memory and are read twice: for all scores, then for the gradient.
      completions_at_once=0,
      log_every=5,
      evaluate_every=50,
      save_every=100,
    )
  )
  # How well reward models know labelers they were not trained on (4.1, E.2).
  config.labeler_cv = ConfigDict(dict(groups=5, seeds=3))
  config.ppo = ConfigDict(
    dict(
      iterations=36,
      batch_size=256,  # episodes per iteration; 512 in the paper (C.4)
      minibatch_size=64,  # C.4
      epochs=1,  # C.4
      kl_coef=0.2,  # ours; 0.02 in the paper (C.4)
      kl_target=0.0,  # nats per response for adaptive KL; 0 keeps kl_coef
      kl_horizon=10_000.0,  # lm-human-preferences
      gamma=1.0,  # C.4
      lam=0.95,  # Stiennon et al.; not in the paper
      clip=0.2,  # C.4
      value_clip=0.2,  # lm-human-preferences; 0 is off
      whiten=True,  # lm-human-preferences
      ptx_coef=4.0,  # ours, on the mean-per-token loss; 27.8 in the paper
      ptx_rows=1,  # rows of text per episode; 8 in the paper (C.4)
      temperature=1.0,  # C.4
      missing_eos_rule='replace',  # 'subtract' or 'none'
      missing_eos_value=-1.0,  # N+ details; not in the paper
      ema_decay=0.9,  # ours for few updates; 0.992 in the paper (C.4)
      ratio_limit=10.0,  # ours
      critic_warmup=2,  # ours: iterations that train the value net alone
      # ours: the run stops where one of these is broken for `patience` lines
      # of metrics in a row, or at its end; 0 is off. Far from any good run.
      limits=dict(
        kl_above=4.0,  # nats per token, k1
        kl_k3_above=100.0,  # the same by k3, of which no part cancels another
        entropy_below=0.01,  # nats per token
        perplexity_above=1e5,  # of the responses, under the reference
        repeated_above=0.7,  # share of repeated n-grams
        length_below=1.2,  # tokens, the end among them
        length_above=0.0,
        patience=5,
      ),
      ngram=3,  # ours: tokens of the n-grams of repeated_above
      # ours: warmup over 5 iterations of 4 updates
      optimizer=adam(
        peak=6e-5, schedule='constant', warmup=20, warmup_from=0.1, eps=1e-5
      ),
      value_optimizer=adam(peak=1e-4, schedule='constant', eps=1e-5),
      microbatch_rows=0,  # episodes, in an update
      ptx_microbatch_rows=0,  # rows of text, in an update
      rollout_rows=0,  # episodes that are written and scored at a time
      # ours: how often generation goes on with half of the rows once the
      # others have ended; each time compiles the loop again.
      halvings=0,
      # ours: into how many widths prompts and responses are cut. A slice of
      # microbatch_rows episodes of like lengths is computed in the smallest
      # pair that holds it; each pair is compiled. 1 cuts nothing. Rows are
      # sorted by the width of their prompt first: more than 1 for prompts
      # asks for many slices.
      windows=dict(prompt=1, response=1),
      # False: old log-probs are the sampler's, one forward less; the first
      # ratio is then 1 up to rounding.
      recompute_logp=True,
      chunk=256,
      log_every=1,
      evaluate_every=4,
      save_every=12,
      probe_prompts=256,  # held out, on which the policy is watched
      samples=4,
    )
  )
  config.evaluate = ConfigDict(
    dict(
      prompts=512,
      batch_size=256,
      documents=1_000,
      pairs_shown=24,
      weights='ema',  # of the PPO policy: 'ema' or 'params'
      # More models beside those of the run: (('NAME', 'FOLDER'), ...).
      models=(),
      # Names of tasks (docs/evaluation.md), or ('all',).
      tasks=(),
      harness=False,  # they are those of lm-evaluation-harness
      # Examples before each question, (0, 4) asks with both; () is none, and
      # for the harness what a task of it says itself.
      shots=(),
      limit=0,  # the first items of a task alone; 0 is all
      tokens=8_192,  # ours: about how many a device takes at a time
      # Where KEY.jsonl(.gz, .zst) of a task lies: folders, and single files as
      # (('KEY', 'FILE'), ...); also of its examples.
      folders=(),
      files=(),
      shot_files=(),
      online=False,  # fetch sets that are not here
      # Who says whether answers to TruthfulQA are true: 'overlap' with the
      # given ones, an address .../chat/completions, or folders of classifiers.
      truth=dict(
        judge='overlap',
        model='',
        key='OPENAI_API_KEY',  # the environment variable that holds it
        answers='',  # where a server's answers are kept; '' is in evaluate/
        workers=8,
        information='',
        label='yes',
      ),
      # And how toxic a text is: 'words' of a list, 'perspective' (key in
      # PERSPECTIVE_API_KEY), or the folder of a classifier.
      toxicity=dict(
        scorer='words',
        words='',
        label='toxic',
        answers='',
        per_second=1.0,
        prompts=5_000,  # drawn evenly over their toxicity (App. D); 0 is all
      ),
      # "GPT-3 prompted" (3.5): the base model behind the prefix of most reward
      # on so many validation prompts, of draws of demonstrations; 0 is off.
      prompted=dict(candidates=0, prompts=64),  # ours
      baseline='sft',  # what the others are preferred to, or not
      # A model that says which of two answers is better, in both orders:
      # address .../chat/completions and its name.
      judge=dict(url='', model='', key='OPENAI_API_KEY', workers=8),
      # What choosing the best of so many answers by the reward model is worth,
      # where there is a gold score; fewer than 2 samples: it is not tried.
      best_of=dict(samples=16, prompts=64),  # ours
      # A folder of the labelling application's comparisons.jsonl (their models
      # named as here) and ratings.jsonl.
      people='',
    )
  )
  return config
