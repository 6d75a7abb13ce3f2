"""Which column is which, in what unit: as said, else guessed by name, and every guess is kept."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bsjax.audit.files import Raw, as_numbers
from bsjax.audit.problem import Problem
from bsjax.config.metrics import USUAL

METRICS = (USUAL.val, USUAL.train, USUAL.reestimated_val)
LOSSES = ('val_loss', 'train_loss')
ERRORS = {'val_error': USUAL.val, 'train_error': USUAL.train}
CLOCKS = ('epoch', 'updates', 'examples')
# Other names of columns, of which the first is ours; 'step' may be either clock.
NAMES = {
  'batch_size': 'batch_size batchsize bs train_batch_size global_batch_size mini_batch_size '
  'minibatch_size minibatch',
  'learning_rate': 'learning_rate lr learningrate init_lr base_lr peak_lr initial_lr max_lr '
  'initial_learning_rate peak_learning_rate base_learning_rate',
  'trial': 'trial seed random_seed rep repeat repetition replicate',
  'run': 'run run_id run_name name experiment exp_name',
  'cell': 'cell',
  'stage': 'stage phase',
  'epoch': 'epoch epochs current_epoch trainer_epoch',
  'updates': 'updates update global_step iteration iterations iter optimizer_step '
  'optimizer_steps num_updates trainer_global_step',
  'step': 'step steps',
  'examples': 'examples samples examples_seen samples_seen images_seen num_examples',
  'seconds': 'seconds runtime elapsed elapsed_seconds train_seconds',
  'momentum': 'momentum sgd_momentum',
  'weight_decay': 'weight_decay wd weightdecay',
  'warmup_updates': 'warmup_updates warmup_steps warmup num_warmup_steps',
  'batch_norm_momentum': 'batch_norm_momentum bn_momentum',
  'sharpness': 'sharpness lambda_max top_eigenvalue max_eigenvalue hessian_max',
  'frozen': 'frozen freeze frozen_layers freezing',
  USUAL.reestimated_val: USUAL.reestimated_val,
}
KNOWN = (*NAMES, *METRICS, *LOSSES, *ERRORS)
PER_RUN = ('momentum', 'weight_decay', 'warmup_updates', 'batch_norm_momentum', 'sharpness')
TEXTS = ('trial', 'run', 'cell', 'stage', 'frozen')
_EXACT = {other: ours for ours, others in NAMES.items() for other in others.split()}
_PREFIX = re.compile(r'^(config|hparams|hyperparameters|params|summary|perf)[./ _]+|^_+')
_SPLITS = {'train': 'train', 'training': 'train', 'tr': 'train', 'val': 'val', 'valid': 'val'}
_SPLITS |= {'validation': 'val', 'dev': 'val', 'eval': 'val', 'test': 'test', 'holdout': 'test'}
_KINDS = dict.fromkeys((USUAL.metric.name, 'acc', 'top1', 'acc1', 'acc@1'), USUAL.metric.name)
_KINDS |= dict.fromkeys(('error', 'err', 'error_rate'), 'error')
_KINDS |= dict.fromkeys(('loss', 'nll', 'xent', 'ce'), 'loss')
_FILLERS = {'epoch', 'categorical', 'sparse', 'binary', 'mean', 'avg', 'top', '1', 'end', 'smooth'}
_FILLERS |= {'smoothed', 'ema', 'metrics', 'multiclass'}
SMOOTHED = ('smooth', 'smoothed', 'ema')


class Column(NamedTuple):
  """A column of a file as it is used: under which name, by whose word, and in which unit."""

  name: str  # ours
  source: tuple[str, ...]  # its name in the file, or several whose values tell cells apart
  said: bool = False
  percent: bool = False
  test: bool = False


def parse(text: str) -> dict[str, str]:
  """The columns of a flag: 'batch_size=bs,cell=N+D' -> {'batch_size': 'bs', 'cell': 'N+D'}.

  Raises Problem for what is no column of ours.
  """
  pairs = [part.partition('=') for part in text.split(',') if part.strip()]
  named = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
  check(named)
  return named


def check(columns: Mapping[str, str]) -> None:
  """Raises Problem for a name that is none of ours, or without a name of theirs."""
  for ours, theirs in columns.items():
    if ours not in KNOWN or not theirs:
      near = difflib.get_close_matches(ours, KNOWN, 1)
      remedy = f'Give --columns=OURS=THEIRS,... with ours one of {", ".join(KNOWN)}'
      guess = f'it is not known: did you mean {near[0]}?' if near else 'it is not known'
      what = guess if ours not in KNOWN else 'it has no name in the table'
      raise Problem('--columns', 1, ours, what, remedy)


def assign(raw: Raw, said: Mapping[str, str]) -> list[Column]:
  """Our name of every column that is used, those that are said first."""
  names = [str(name) for name in raw.frame.columns]
  taken, columns = set(), []
  for ours, theirs in said.items():
    percent, source = theirs.endswith('%') and theirs not in names, theirs
    source = theirs.removesuffix('%') if percent else theirs
    parts = (source,) if source in names else tuple(source.split('+'))
    if missing := [part for part in parts if part not in names]:
      if raw.kind != 'table' and ours in CLOCKS:
        continue
      near = difflib.get_close_matches(missing[0], names, 1)
      what = 'there is no such column' + (f': did you mean {near[0]!r}?' if near else '')
      raise Problem(raw.name, 1, missing[0], what, f'Columns are {", ".join(names)[:300]}')
    if len(parts) > 1 and ours != 'cell':
      what = f'{ours} is one column, not {len(parts)}'
      raise Problem(raw.name, 1, theirs, what, 'Only cells may be told apart by several')
    columns.append(Column(ours, parts, True, percent))
    taken |= set(parts)
  given = {_meant(column.name) for column in columns}
  free = [name for name in names if name not in taken]
  return columns + _guesses(raw, free, given)


def _guesses(raw: Raw, names: Sequence[str], given: set[str]) -> list[Column]:
  candidates: dict[str, list[Column]] = {}
  for name in names:
    column = guess(name, raw.kind, {guess_metric(other)[1] for other in names})
    if column and _meant(column.name) not in given:
      candidates.setdefault(_meant(column.name), []).append(column)
  chosen = []
  for ours, several in candidates.items():
    validation = [column for column in several if not column.test] or several
    exact = [column for column in validation if column.source[0] == ours]
    best = exact or [c for c in validation if not _smooth(c.source[0])] or validation
    if len(best) > 1:
      names_of = ' and '.join(repr(column.source[0]) for column in best[:3])
      what, remedy = f'{names_of} may be {ours}', f'Say which: --columns={ours}=NAME'
      raise Problem(raw.name, 1, best[1].source[0], what, remedy)
    chosen.append(best[0])
  return chosen


def _meant(name: str) -> str:
  """What a column becomes: errors are read as what they lack of the best."""
  return ERRORS.get(name, name)


def _smooth(name: str) -> bool:
  return bool(set(re.split(r'[^a-z0-9]+', name.lower())) & set(SMOOTHED))


def guess(name: str, kind: str, splits: Iterable[str]) -> Column | None:
  """What a column may be by its name; `splits` are those that any column of the file names."""
  plain = _PREFIX.sub('', name.strip().lower())
  plain = re.sub(r'[^a-z0-9@]+', '_', plain).strip('_')
  if plain in _EXACT:
    return Column(_EXACT[plain], (name,))
  metric, split = guess_metric(name)
  if metric is None:
    return None
  if not split:  # what Keras calls 'loss' is that of training
    if kind != 'keras' and 'val' not in splits:
      return None
    split = 'train'
  test = split == 'test'
  return Column(f'{"val" if test else split}_{metric}', (name,), test=test)


def guess_metric(name: str) -> tuple[str | None, str]:
  """The metric that a name speaks of, if any, and the split; '' where it names none."""
  tokens = [token for token in re.split(r'[^a-z0-9@]+', name.strip().lower()) if token]
  kinds = [_KINDS[token] for token in tokens if token in _KINDS]
  splits = [_SPLITS[token] for token in tokens if token in _SPLITS]
  rest = set(tokens) - set(_KINDS) - set(_SPLITS) - _FILLERS
  if len(kinds) != 1 or len(splits) > 1 or rest or tokens[:1] == ['reestimated']:
    return None, ''
  return kinds[0], splits[0] if splits else ''


def values_of(raw: Raw, column: Column) -> pd.Series:
  """The values of a column in our unit; Problem where one cannot be."""
  source = raw.frame[column.source[0]]
  if column.name in TEXTS:
    parts = [_texts(raw.frame[name]) for name in column.source]
    if len(parts) == 1:
      return parts[0]
    texts = [name + '=' + part.astype(str) for name, part in zip(column.source, parts, strict=True)]
    return texts[0].str.cat(texts[1:], sep=', ')
  name = column.source[0]
  remedy = f'Mend it, or say which column is {column.name} with --columns'
  percent, texts = column.percent, None
  if not pd.api.types.is_numeric_dtype(source):
    texts = source.astype(object).map(lambda x: x.strip() if isinstance(x, str) else x)
    signs = texts.map(lambda x: isinstance(x, str) and x.endswith('%'))
    if signs.any() and column.name in (*METRICS, *ERRORS):
      if not (signs | texts.isna()).all():
        row = signs.index[~signs & texts.notna()][0]
        what = 'some values have a percent sign, and this one has none'
        raise Problem(raw.name, row, name, what, 'Write all alike')
      percent, source = True, texts.map(lambda x: x[:-1] if isinstance(x, str) else x)
  numbers = as_numbers(source, raw.name, name, remedy)
  if column.name in (*METRICS, *ERRORS):
    return _fractions(raw.name, name, column.name, numbers, percent)
  return _possible(raw.name, name, column.name, numbers)


def _texts(values: pd.Series) -> pd.Series:
  """Labels as text, each different one made once."""
  numbers, different = pd.factorize(values, use_na_sentinel=False)
  texts = np.array([_as_text(value) for value in different], dtype=object)
  return pd.Series(texts[numbers], values.index, dtype=object)


def _as_text(value: object) -> object:
  """A label as text, numbers without a fraction as whole ones."""
  if isinstance(value, float):
    if math.isnan(value):
      return None
    return str(int(value)) if value.is_integer() else repr(value)
  return value if value is None else str(value).strip()


def _possible(file: str, name: str, ours: str, numbers: pd.Series) -> pd.Series:
  """The same numbers, all of which are possible values of our column."""
  finite = numbers[np.isfinite(numbers)]
  wrong, what = finite[:0], ''
  if ours == 'batch_size':
    wrong, what = finite[(finite < 1) | (finite % 1 != 0) | (finite > 2**40)], 'is no batch size'
  elif ours == 'learning_rate':
    wrong, what = finite[finite <= 0], 'is no learning rate'
  elif ours in (*CLOCKS, 'step', 'seconds', 'warmup_updates'):
    wrong, what = finite[finite < 0], f'is below zero, which {ours} cannot be'
  elif ours in ('momentum', 'batch_norm_momentum'):
    wrong, what = finite[(finite < 0) | (finite >= 1)], 'is no momentum: give one from 0 to below 1'
  if ours not in (*LOSSES, 'sharpness') and np.isinf(numbers).any():
    wrong, what = numbers[np.isinf(numbers)], 'is not finite'
  if len(wrong):
    remedy = f'Mend it, or say which column is {ours} with --columns'
    raise Problem(file, wrong.index[0], name, f'{wrong.iloc[0]:g} {what}', remedy)
  return numbers


def _fractions(file: str, name: str, ours: str, numbers: pd.Series, percent: bool) -> pd.Series:
  """The metric as a fraction; of an error what it lacks of 1. Not finite values stay infinite."""
  finite = numbers[np.isfinite(numbers)]
  if not percent and len(finite):
    top = finite.max()
    if 1 < top <= 1.5:
      what = f'{top:g} may be a little above 1 or in percent'
      raise Problem(file, finite.idxmax(), name, what, f'Say --columns={ours}={name}%, or mend it')
    percent = bool(top > 1)
  most = 100 if percent else 1
  wrong = finite[(finite < 0) | (finite > most)]
  if len(wrong):
    what = f'{wrong.iloc[0]:g} lies outside 0 to {most}'
    raise Problem(file, wrong.index[0], name, what, f'Mend it, or say which column is {ours}')
  numbers = numbers / most
  return (1 - numbers).where(np.isfinite(numbers), numbers) if ours in ERRORS else numbers


def is_percent(raw: Raw, column: Column) -> bool:
  """Whether values of a metric are taken for percent."""
  source = raw.frame[column.source[0]]
  if not pd.api.types.is_numeric_dtype(source):
    return column.percent or bool(source.astype(str).str.contains('%').any())
  finite = source[np.isfinite(source.astype('float64'))]
  return bool(column.percent or (len(finite) and finite.max() > 1))
