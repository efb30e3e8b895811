"""The local backend: models that train and answer on this machine."""
