"""Whether the study's intervals hold what they promise, on studies whose truth is known."""
