"""How the lanes of a stage lie over devices and processes, for a person."""

from ml_collections import ConfigDict

from bsjax.engine import device_axis, processes
from bsjax.engine.device_data import study_devices
from bsjax.plan.lanes import StagePlan


def sentences(config: ConfigDict, stage: StagePlan) -> list[str]:
  """Says over how many devices lanes are spread, which of these share lanes, and which are idle."""
  devices, said = study_devices(config, stage), []
  present, shares = len(device_axis.devices(config.execution.devices)), devices.shape[1]
  if processes.count() > 1:
    rows, used = device_axis.spread_over(devices), devices.size * processes.count()
    told = f'{processes.count()} processes, {used} devices; each process has all of the data'
    idle_seats = sum(-len(group.lanes) % rows for group in stage.groups)
    said.append(f'{told}; {idle_seats} seats for lanes stay idle.' if idle_seats else f'{told}.')
  if shares > 1:
    said.append(
      f'Every lane runs on {shares} devices, each with a share of its micro-batches; '
      'execution.devices_per_lane=1 leaves it to one.'
    )
  if idle := present - devices.size:
    said.append(f'{idle} of {present} devices have no lane and stay idle.')
  return said
