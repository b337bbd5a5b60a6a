"""Faults between the library and a daemon: which request is hit by what, and what injects it.

`plan` decides; `adapter` injects in this process, in front of any transport; `proxy` injects on the wire, in
front of the real daemon or of one in memory; `small_run` is what is run through them.
"""
