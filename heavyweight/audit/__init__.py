"""The article audited without a machine: its numbers against physics and against each other."""
