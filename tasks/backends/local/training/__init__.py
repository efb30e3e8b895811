"""Training: imported by the trainer's process only."""
