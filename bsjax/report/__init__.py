"""From a summary to pages, figures and text for people."""
