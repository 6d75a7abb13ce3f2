"""How sharp the loss is where a lane has arrived: curvature, ascent, slices (docs/sharpness.md)."""
