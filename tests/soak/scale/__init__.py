"""What instances cost in one process while nothing happens, and when each has a batch a second.

`idle` and `busy` are the processes that are measured, `bare` is the floor beside `busy`: plain loops over
`requests`. `beat` says when batches are due; `part` runs all of them, and `draw` draws what came out.
"""
