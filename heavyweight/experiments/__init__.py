"""What a session does beside closed loops: one module an experiment, one notebook of its name."""
