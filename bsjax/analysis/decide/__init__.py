"""Studies that go on in rounds until a question is decided: what each round says, and of what."""
