"""WordNet: how the copy in `tasks/answers` was cut from its files."""
