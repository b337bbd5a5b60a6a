"""Many instances, started and stopped again and again in one process, and what that process keeps of them.

`subject` is that process; `part` measures it, with a daemon in memory in another one.
"""
