"""The panels of a study's figures: each function draws one into the axes it is given."""
