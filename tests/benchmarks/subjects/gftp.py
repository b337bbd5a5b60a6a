#!/usr/bin/env python3
"""A `gftp server` that publishes nothing: yapapi starts one even where no file is sent."""

from __future__ import annotations

import json
import sys

ANSWERS = {"version": "0.7.3", "shutdown": "Ok"}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        method = request["method"]
        if method in ANSWERS:
            answer = {"result": ANSWERS[method]}
        else:
            answer = {"error": {"code": -32601, "message": f"this gftp can't {method}"}}
        print(json.dumps({"jsonrpc": "2.0", "id": request.get("id"), **answer}), flush=True)
        if method == "shutdown":
            return


if __name__ == "__main__":
    main()
