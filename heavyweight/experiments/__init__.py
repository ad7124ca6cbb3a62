"""What is measured besides closed loops: one module, or package, for each experiment.

The notebook of an experiment is made of calls into its session class.
"""
