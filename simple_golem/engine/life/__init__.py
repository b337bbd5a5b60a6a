"""One life of an instance: from the search for a provider to the release of everything it had there.

The parts, each of which imports only those above it:

* `shutdown_alarm` measures how long the current part of the end may take.
* `life_state` is the record of the life: what it has, and how far its end is. Any thread may use it.
* `batch_rules` is the table of what differs between the callers of a batch; `batch_runner` runs a batch.
* `service_link` is what the user's service object calls: `execute`, `wait`, `stop`.
* `provider_watch` receives what the provider does by itself, and tells whether it is gone when a batch fails.
* `provider_lease` gets the agreement and the activity, and releases them.
* `life` is the sequence of all of it, on the life thread of the instance.

**Threads.** The life thread calls the user's methods and waits for the provider. Other threads only end the
life, through `LifeState`: the user's thread and the timer (`end`), the health check and the reader of
agreement events (`lose`), the helper thread of the instance (batches from outside). No method of `LifeState`
blocks. If a method of the user does not return in time, the timer's thread leaves the life thread behind, and
starts another one, which goes on with the instance. `LifeState` knows which thread is the present one.

**Order of locks.** Each line names the classes whose objects have a lock. A thread that holds one takes only
locks of the lines below it:

1. `Lifecycle`, `ClusterContext`
2. `Listing`
3. `PublishedDemands`, `Demand`
4. `OfferBook`
5. `Providers`
6. `TakingOver`
7. `Budget`
8. `Ledger`

All other locks come last, that of `LifeState` among them: a thread that holds one takes no other lock.
Therefore `LifeState` cancels its scopes after it has released its lock, because a scope calls code that takes
locks. `tests/unit/engine/life/test_lock_order.py` runs services and compares.
"""
