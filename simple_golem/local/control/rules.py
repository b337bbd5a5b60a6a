"""The rules of real providers that local providers enforce too, in one table.

The facts are those of ya-provider 0.17.6 and ya-runtime-vm 0.5.2. The number of a rule is its row in
`docs/local-network/differences.md`, which says what each rule means for a script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of real providers.

    Attributes:
        name: its short name.
        row: its number in the documentation.
        text: what a real provider does.
    """

    name: str
    row: int
    text: str


# Reports that a rule has struck: the rule, what was refused or changed, and the text that the requestor gets.
OnStrike = Callable[[Rule, str, str], object]

# Commands and their output
LOST_TAIL = Rule("lost-tail", 1, "the last output of a command is lost, if it is more than 4096 bytes")
NOT_STARTED = Rule("not-started", 2, "a program that can't start ends with code 9, without a word")
THREADS = Rule("threads", 19, "commands have as many processor threads as the offer says")
MEMORY = Rule("memory", 20, "commands have as much memory as the offer says")
IMAGE = Rule("image", 45, "an image is fetched from its URL, and its hash is checked")
ROOM = Rule("room", 21, "outside the volumes there is room for half of the memory")
COMMAND_ORDER = Rule("command-order", 12, "a state of the activity allows certain commands only")
ONE_BATCH = Rule("one-batch", 13, "an activity executes one batch at a time")
BACKGROUND_OUTPUT = Rule(
    "background-output", 84, "a program that is left in the background dies when it writes to its output"
)
# Files
HOSTS_NEED_NETWORK = Rule("hosts-need-network", 26, "host names of a deploy count only in a private network")
VOLUMES_ONLY = Rule("volumes-only", 28, "files are transferred only to and from volumes")
LINKS = Rule("links", 32, "a link in a volume is followed only inside its volume")
RESUMED = Rule(
    "resumed", 33, "a download is resumed at the length of the file that is there, if the web server can"
)
OWN_LOOPBACK = Rule("own-loopback", 34, "a provider does not reach the web servers of the script's machine")
WEB_TIMEOUT = Rule("web-timeout", 36, "a web server answers within 5 seconds; three tries are made")
NO_ARCHIVES = Rule("no-archives", 37, "the format, depth and fileset of a transfer are ignored")
STATUS_IGNORED = Rule("status-ignored", 35, "the page of a web server's error is stored as the file")
# Demands
AGREEMENT_LENGTH = Rule("agreement-length", 47, "an agreement lasts for 5 minutes to 100 years")
PAYMENTS_REQUIRED = Rule("payments-required", 48, "an agreement of 10 hours and more needs a payment timeout")
LENGTH_WITHOUT_ACCEPTANCE = Rule(
    "length-without-acceptance", 49, "an agreement without an accept timeout lasts for 30 minutes at most"
)
ACCEPT_TIMEOUT = Rule("accept-timeout", 50, "debit notes are accepted within 5 seconds to 4 minutes")
DEBIT_NOTE_INTERVAL = Rule("debit-note-interval", 51, "debit notes come each second to each day")
PAYMENT_TIMEOUT = Rule("payment-timeout", 51, "debit notes are paid within a second to a day")
WHOLE_NUMBERS = Rule("whole-numbers", 52, "times in a demand are whole numbers; others get no answer")
CHOSEN_PLATFORM = Rule("chosen-platform", 53, "a demand names the payment platform")
CAPACITY = Rule("capacity", 54, "a provider has one agreement at a time")
"""Strikes on any busy market: no script can avoid that."""
SUBNET = Rule("subnet", 55, "a provider offers in its own subnet")
PAYMENT_NETWORK = Rule("payment-network", 56, "a provider is paid on the networks of its own account")
MANIFEST = Rule("manifest", 77, "a manifest is valid, and commands are those that it allows")
# Agreements
SINGLE_ACTIVITY = Rule(
    "single-activity", 61, "an agreement ends with its first activity, unless the demand allows more"
)
ONE_ACTIVITY = Rule("one-activity", 62, "an agreement has one activity at a time")
ACCEPTED_IN_TIME = Rule("accepted-in-time", 63, "an agreement ends if debit notes are not accepted in time")
PAID_IN_TIME = Rule("paid-in-time", 65, "an agreement ends if a debit note is not paid when it is due")
REACHABLE = Rule("reachable", 66, "an agreement ends if debit notes can't be delivered")
NO_ACTIVITY = Rule("no-activity", 67, "an agreement without an activity ends after 90 seconds")
EXPIRED = Rule("expired", 68, "an agreement ends when it expires, and its activities with it")

RULES: tuple[Rule, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Rule))
