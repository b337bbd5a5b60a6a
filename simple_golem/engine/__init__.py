"""The machinery of one open Golem.

A `Session` puts the parts together that all instances share, and a `Life` uses them. Imports go one way:
`life` → `session` → `agreements`, `cleanup`, `published_demands` → `market` → `payment`; `activity` and
`files` import none of these. The order of locks is in the docstring of `engine.life`.
"""
