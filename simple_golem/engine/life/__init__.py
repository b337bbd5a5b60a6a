"""One life of an instance: from the search for a provider to the release of everything it had there.

The parts, each of which imports only those above it:

* `shutdown_alarm` measures how long the current part of the end may take.
* `life_state` is the record of the life: what it has, and how far its end is. Any thread may use it.
* `batch_rules` is the table of what differs between the callers of a batch; `batch_runner` runs a batch.
* `service_link` is what the user's service object calls: `execute`, `wait`, `stop`.
* `provider_lease` gets the agreement and the activity, and releases them.
* `provider_watch` receives what the provider does by itself.
* `life` is the sequence of all of it, on the life thread of the instance.

**Threads.** The life thread calls the user's methods and waits for the provider. Other threads only end the
life, through `LifeState`: the user's thread and the timer (`end`), the health check and the reader of
agreement events (`lose`), the helper thread of the instance (batches from outside). No method of `LifeState`
blocks.

**Order of locks.** A thread that holds a lock takes only locks that stand further down:

1. the condition of a cluster's states (`services.instance_states`);
2. the locks of a session: demand, event queue, worker pools;
3. the lock of `LifeState`.

No code outside `LifeState` runs while its lock is held. Scopes are cancelled after the lock was released,
because a cancelled scope calls code that takes locks of its own.
"""
