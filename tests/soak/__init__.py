"""Runs of the library under faults, kills, hostile money and load, in numbers that a CI run has no time for.

`python -m tests.soak PART` makes the figures of `docs/reliability.md`. A small share of each part, with fixed
seeds, is run by the tests.
"""
