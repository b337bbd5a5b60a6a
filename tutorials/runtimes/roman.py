#!/usr/bin/env python3
"""A runtime: writes years in Roman digits, and keeps a list of them in a volume."""

import argparse
import json
import sys
from pathlib import Path

ROMAN = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL"}
ROMAN |= {10: "X", 9: "IX", 5: "V", 4: "IV", 1: "I"}

parser = argparse.ArgumentParser()
parser.add_argument("--workdir", type=Path)  # a folder for each activity
parser.add_argument("command", choices=["test", "offer-template", "deploy", "start", "run"])
parser.add_argument("--entrypoint")  # the program of a Run command
words = [*sys.argv[1:], "--"]
options = parser.parse_args(words[: words.index("--")])
arguments = words[words.index("--") + 1 : -1]

if options.command == "offer-template":  # what offers say of this runtime
    print(json.dumps({"properties": {"golem.srv.roman.largest": 3999}, "constraints": ""}))
elif options.command == "deploy":  # the volume /lists is the folder `lists` in the folder of the activity
    print(
        json.dumps({"valid": {"Ok": ""}, "vols": [{"name": "lists", "path": "/lists"}], "startMode": "empty"})
    )
elif options.command == "run":
    for year in map(int, arguments):
        written = ""
        for number, digits in ROMAN.items():
            written += digits * (year // number)
            year %= number
        print(written)
        with open(options.workdir / "lists" / f"{options.entrypoint}.txt", "a") as file:
            print(written, file=file)
