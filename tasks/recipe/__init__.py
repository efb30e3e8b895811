"""Recipe: the validated model of a run, how it is loaded, and what it may name."""
