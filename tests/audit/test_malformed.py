"""Tables that are broken in every way: an answer, or one line with row, column and remedy."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from helpers.many import many, outcome
from hypothesis import given
from hypothesis import strategies as st

from bsjax.audit import audit
from bsjax.audit.__main__ import batch_norm
from bsjax.audit.problem import Problem

CELLS = st.one_of(
  st.sampled_from(
    ['', 'nan', 'inf', '-1', '0', '1e400', '1,5', '97%', 'abc', '"', '1;2', '\t', '😀']
  ),
  st.floats(allow_nan=False).map(str),
  st.text(max_size=4),
)
NAMES = st.sampled_from(
  [
    'batch_size',
    'bs',
    'learning_rate',
    'lr',
    'trial',
    'seed',
    'epoch',
    'step',
    'updates',
    'examples',
    'val_accuracy',
    'val_acc',
    'val_loss',
    'train_accuracy',
    'loss',
    'run',
    'name',
    'cell',
    'stage',
    'seconds',
    'momentum',
    'test_acc',
    'frozen',
  ]
)
MESSAGE = re.compile(r"""^.+, row .+, column ['"].*['"]: .+\. .+\.$""", re.DOTALL)


def sweep():
  rows = [
    (size, 0.1, trial, epoch, round(0.5 + 0.1 * epoch - size / 1000 + trial / 100, 4))
    for size in (8, 32)
    for trial in (0, 1)
    for epoch in (1, 2)
  ]
  return pd.DataFrame(rows, columns=['batch_size', 'lr', 'trial', 'epoch', 'val_accuracy']).astype(
    str
  )


@st.composite
def broken(draw):
  """A sweep with cells, names, rows and bytes changed."""
  frame = sweep()
  for _ in range(draw(st.integers(0, 3))):
    row, column = draw(st.integers(0, len(frame) - 1)), draw(st.integers(0, 4))
    frame.iloc[row, column] = draw(CELLS)
  if draw(st.booleans()):
    column = draw(st.integers(0, 4))
    frame = frame.rename(columns={frame.columns[column]: draw(NAMES)})
  if draw(st.booleans()):
    frame = frame.iloc[draw(st.permutations(range(len(frame))))[: draw(st.integers(0, 8))]]
  separator = draw(st.sampled_from(',;\t|'))
  text = frame.to_csv(index=False, sep=separator)
  for _ in range(draw(st.integers(0, 2))):
    at = draw(st.integers(0, len(text)))
    text = (
      text[:at] + draw(st.sampled_from([separator, '\n', '"', '\0', '\r', ' ', 'x'])) + text[at:]
    )
  return text


def said(path):
  """The message of a problem, or None where there is an answer."""
  try:
    result = audit([path]).result
  except Problem as problem:
    return str(problem)
  assert result['answer']['headline'] and all(
    claim['why'] is not None for claim in result['claims']
  )
  return None


def check(tmp_path, content, name='broken.csv'):
  """An answer, or a message with file, row, column, what and remedy."""
  path = tmp_path / name
  path.write_bytes(content)
  message = said(path)
  outcome(message is not None)
  assert message is None or MESSAGE.match(message), message


@many(100)
@given(text=broken())
def test_a_broken_table_is_answered_or_refused_in_a_line(tmp_path, text):
  check(tmp_path, text.encode('utf-8', 'surrogatepass'))


@pytest.mark.slow
@many(500)
@given(text=broken())
def test_five_hundred_broken_tables_are(tmp_path, text):
  check(tmp_path, text.encode('utf-8', 'surrogatepass'))


@many(60)
@given(content=st.binary(max_size=60), name=st.sampled_from(['a.csv', 'a.json', 'a.csv.gz']))
def test_bytes_are_refused_in_a_line(tmp_path, content, name):
  check(tmp_path, content, name)


@pytest.mark.parametrize('cells', [',,', ',x,'])
def test_several_columns_may_have_no_name(tmp_path, cells):
  """Empty they are left out; a value in one is refused with its row."""
  path = tmp_path / 'unnamed.csv'
  lines = sweep().to_csv(index=False).splitlines()
  path.write_text(
    '\n'.join([',,' + lines[0], *(',,' + line for line in lines[1:-1]), cells + lines[-1]])
  )
  message = said(path)
  assert message is None if cells == ',,' else f'row {len(lines)}, column' in message


@pytest.mark.parametrize('column', ['batch_size', 'trial', 'epoch', 'val_accuracy', 'lr'])
def test_every_column_may_be_missing_or_empty(column):
  whole = pd.read_csv(io.StringIO(sweep().to_csv(index=False)))
  for frame in (whole.drop(columns=column), whole.assign(**{column: np.nan})):
    try:
      audit(frame)
    except Problem as problem:
      assert MESSAGE.match(str(problem)), problem


def test_a_flag_of_batch_norm_is_a_momentum_or_none():
  sound = {None: None, 'none': 'none', '0': 0.0, '0.99': 0.99}
  assert {text: batch_norm(text) for text in sound} == sound
  for text in ('1', '-0.1', 'nan', 'group', ''):
    with pytest.raises(Problem, match=f'{text!r} is neither'):
      batch_norm(text)
