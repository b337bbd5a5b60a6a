"""A whole day of a session that nobody looks at, in some minutes.

`fast_clock` is the clock of its two processes, `subject` and `daemon`, which know no other; `run_fast` starts
a module with it. `part` runs the day, and judges it.
"""
