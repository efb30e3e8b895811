"""Kit: what several tests share."""
