"""The same scripts by simple_golem and by yapapi, under the same faults, on a daemon in memory.

`scripts` are what is run, each in a process of its own; `one_run` runs one behind a proxy of faults,
and `part` runs many.
"""
