"""What a batch size costs when it is run alone on a device: memory, throughput, seconds per epoch.

`run.measure_study` measures, `run.write` keeps it as native_cost.json, and
`python -m bsjax.native_cost` does both.
"""
