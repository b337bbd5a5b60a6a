"""Files: one picture is sent to three providers, each changes it, and three pictures come back."""

import math

from simple_golem import Download, Golem, Run, Service, Upload

WIDTH, HEIGHT = 160, 120
# The new brightness of a point; $1, for awk, is its old brightness, from 0 to 255.
EFFECTS = {
    "negative": "255 - $1",
    "bright": "int(sqrt($1 / 255) * 255)",
    "poster": "int($1 / 64) * 85",
}


def draw(path):
    """Draw waves around the centre, as a PGM file: a picture as text, which most image viewers show."""
    points = []
    for y in range(HEIGHT):
        for x in range(WIDTH):
            distance = math.hypot(x - WIDTH / 2, y - HEIGHT / 2)
            points.append(round(127.5 + 127.5 * math.cos(distance / 4)))
    with open(path, "w") as picture:
        picture.write(f"P2\n{WIDTH} {HEIGHT}\n255\n")
        picture.writelines(f"{point}\n" for point in points)


class Painter(Service):
    """Changes the picture, on a provider's machine."""

    def __init__(self, effect):
        self.effect = effect

    def run(self):
        each_point = f"NR <= 3 {{ print; next }} {{ print {EFFECTS[self.effect]} }}"
        self.execute(
            Upload("waves.pgm", "/golem/input/waves.pgm"),
            Run.shell(f"awk '{each_point}' /golem/input/waves.pgm > /golem/output/painted.pgm"),
            Download("/golem/output/painted.pgm", f"{self.effect}.pgm"),
        )


draw("waves.pgm")

with Golem(budget=1) as golem:
    cluster = golem.run_service(Painter, instance_params=[{"effect": effect} for effect in EFFECTS])
    cluster.wait()  # until all of them have ended
    for instance in cluster.instances:
        print(f"{instance.provider_name} painted {instance.service.effect}.pgm")

print("It cost", golem.cost)
