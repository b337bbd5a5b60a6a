"""Random histories of debit notes, invoices and top-ups, on the code of the ledger, without threads.

`hand_time` stops the time of that code; `bank` answers in the daemon's place; `steps` are what can happen;
`history` makes them happen and compares; `runs` draws them at random.
"""
