"""Sessions that are killed at random moments, and what the next cleanup leaves of them.

`victim` is the script that is killed; `one_kill` does what one seed says; `part` does many, and counts.
"""
