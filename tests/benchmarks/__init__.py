"""The same work on the same local network by simple_golem, a bare requestor, and yapapi, side by side."""
