"""The speed of the charger path, measured on the real processes: `python -m tests.bench [part ...]`.

What is measured, how, and what bounds it is in docs/benchmarks.md.
"""
