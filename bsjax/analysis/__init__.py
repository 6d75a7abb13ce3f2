"""From records to a summary: runs, measures of them, claims about them."""
