"""Whole runs of the library behind a proxy that injects faults; a seed says what each does and what hits it.

`jobs` are what a run can do; `plans` say which requests are hit; `one_run` runs one seed and judges it,
`lives` its agreements; `part` runs many, and counts.
"""
