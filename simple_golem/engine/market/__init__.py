"""The market: a demand is published, offers are rated and countered, and an agreement is made of the best.

* `Listing` has one `Demand` on the market at a time, and publishes a new one after the old one was withdrawn.
* `Demand` publishes, reads and withdraws. Its `OfferBook` keeps the offers and answers of providers.
* `Chooser` takes the best provider from a book, or waits. `Providers` knows which ones are occupied.
* `AgreementMaker` turns the chosen proposal into an `Agreement`.

Order of locks: a thread that holds one of these locks takes only locks further down in the list.

1. `Listing._lock`: held while a demand is published.
2. `Demand._lock`: held while a demand is published, so that it is not withdrawn at the same time.
3. `Chooser._lock`: the books at which instances wait. Held alone.
4. `OfferBook._lock`: offers, answers and rejections of one cluster.
5. `Providers._lock`: which providers are occupied, are banned, or have failed.
6. `Budget._reserving`: GLM that agreements in the making need.
7. `Ledger.lock`: the accounts of the agreements.

No request is sent, no event is emitted and no code of the user runs while one of the locks 3 to 7 is held.
"""
