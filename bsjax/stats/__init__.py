"""Statistics of plain arrays: intervals, paired differences, fits; nothing knows of training."""
