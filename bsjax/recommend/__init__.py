"""A range of batch sizes for the device at hand, from a short run: `python -m bsjax.recommend`."""
