"""What a session pays: its budget, what each agreement costs, and the answers to debit notes and invoices.

The modules, each of which imports only those above it:

* `account` says what one agreement may cost, and what was accepted for it.
* `journal_record`, `journal`, `session_journals` write down what a later session needs after a kill.
* `ledger` has the accounts of all agreements.
* `budget` is the allocation; `budget_watch` finds out in time that it is used up.
* `expected_invoices` knows which invoices are still to be answered, and waits for them in the end.
* `payments` checks debit notes and invoices, and answers them.

The order of locks is in the docstring of `engine.life`: `Budget` comes before `Ledger`, and all other locks
of this package are the last that a thread takes. A request runs under one lock only: that of `Budget` by
which amounts and ends of the allocation change one after the other.
"""
