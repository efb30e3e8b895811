"""Drills: faults for real, run by `make faults` and `make damage`."""
