"""The figures of a page, by name."""

FIGURES = (
  'accuracy',
  'gap',
  'learning_rates',
  'optimum',
  'critical_batch_size',
  'noise_scale',
  'noise_by_part',
  'equal_clocks',
  'curves',
)
