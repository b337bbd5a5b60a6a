"""The classes of events, by what they are about: a program loads only what happens in it."""
