"""Cleans up after dead sessions: ends what they left open, and pays what they owe.

`dead_session` does it for one session, whose journal it holds; `clean_up` does it for all sessions of an
owner.
"""
