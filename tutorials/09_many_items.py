"""Many items on few machines: three machines compute the rows of a picture, as long as there are rows."""

from simple_golem import Golem

WIDTH, HEIGHT = 120, 80
# One row of the Mandelbrot set, in awk: for each point the number of steps that it takes to run away.
ROW = """
BEGIN {
    for (x = 0; x < width; x++) {
        a = 3 * x / width - 2.2; b = 2 * y / height - 1
        re = im = steps = 0
        while (re * re + im * im < 4 && steps < 255) {
            next_re = re * re - im * im + a
            im = 2 * re * im + b
            re = next_re
            steps++
        }
        printf "%d ", 255 - steps
    }
}
"""


def row(machine, y):
    """Compute a row, on whatever machine is free."""
    return str(machine.shell(f"awk -v width={WIDTH} -v height={HEIGHT} -v y={y} '{ROW}'"))


with Golem(budget=1) as golem, golem.pool(3) as pool:
    rows = list(pool.map(row, range(HEIGHT)))  # in the order of the items
    print(pool.stats)

with open("mandelbrot.pgm", "w") as picture:  # a picture as text, which most image viewers show
    picture.write(f"P2\n{WIDTH} {HEIGHT}\n255\n" + "\n".join(rows) + "\n")

print("It cost", golem.cost)
