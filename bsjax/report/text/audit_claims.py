"""The sentences of what is asked of others' curves alone."""

ASKED = {
  'rate_is_cause': 'the learning rate was the cause: of the difference at one rate for all, less '
  'than half is left at the best rate of each batch size',
  'rate_matters_more': 'the learning rate matters more than the batch size, over the rates and '
  'sizes tried',
  'one_power_law': 'the best learning rate follows one power law of the batch size',
  'good_rates_narrow': 'the range of good learning rates narrows with batch size',
  'keeps_dynamics': 'with {1:rule}, a larger batch trains along the same curve',
  'flatter_minima': 'small batches find flatter minima: sharpness grows with batch size',
  'halves_time': 'a doubled batch halves the time per epoch',
  'more_alike': 'larger batches make runs more alike: the spread over trials falls with batch size',
  'shrinking_helps': 'shrinking the batch late in training helps',
  'growing_frozen_harmless': 'growing the batch while layers are frozen is harmless',
}
