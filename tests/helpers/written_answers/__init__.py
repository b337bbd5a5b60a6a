"""A daemon whose answers a test has written down, with `responses`, for the parts of the engine."""
