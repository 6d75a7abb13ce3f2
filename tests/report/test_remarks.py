"""What a headline leaves out."""

from bsjax.report.text import remarks


def test_batch_sizes_are_said_to_change_where_a_stage_changes_them():
  def said(**rules):
    stages = [{'name': name, 'settings': {'batch_size': rule}} for name, rule in rules.items()]
    return remarks.limits({'stages': {'stages': stages}})

  assert said(head=['keep'], tail=['keep', 'keep']) == []
  (one,) = said(head=['keep'], tail=['keep', 'multiply:2'])
  assert one.endswith('later they change: tail (keep and multiply:2).')
