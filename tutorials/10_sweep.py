"""A parameter sweep that goes on after a kill: what was answered is in a file, and is not computed again."""

from simple_golem import Golem

RATES = [2.6, 2.8, 2.9, 3.2, 3.4, 3.5, 3.55, 3.6, 3.7, 3.74, 3.8, 3.83, 3.84, 3.85, 3.9, 4.0]
# Animals on an island: few have many young, many starve. In how many years do their numbers come again?
POPULATION = """
BEGIN {
    animals = 0.4
    for (year = 0; year < 500000; year++) animals = rate * animals * (1 - animals)
    first = sprintf("%.5f", animals)
    for (year = 1; year <= 64; year++) {
        animals = rate * animals * (1 - animals)
        if (sprintf("%.5f", animals) == first) { print year; exit }
    }
    print 0
}
"""


def years(machine, rate):
    """Simulate one growth rate, on whatever machine is free."""
    return int(machine.shell(f"awk -v rate={rate} '{POPULATION}'").stdout)


with Golem(budget=1) as golem, golem.pool(2) as pool:
    results = pool.map(years, RATES, results_file="years.jsonl")
    for rate, number in zip(RATES, results, strict=True):
        print(f"growth rate {rate}: " + (f"the same after {number} years" if number else "never the same"))

print("It cost", golem.cost)
