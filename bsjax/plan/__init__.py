"""From a config to lanes, groups, stages and positions. No arrays of a device, and no JAX."""
