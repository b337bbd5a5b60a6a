"""A runtime of your own: a provider calls your program in place of a virtual machine."""

from simple_golem import DownloadBytes, Golem, Payload, Run, Service


class Roman(Service):
    payload = Payload(runtime="roman", constraints=["(golem.srv.roman.largest>=2026)"])

    def run(self):
        for year in (1969, 2026):
            # The runtime takes names in place of paths.
            print(year, "is", self.execute(Run("years", year, absolute=False)).stdout.strip())
        written = self.execute(DownloadBytes("/lists/years.txt")).data
        print("The list has", *written.decode().split())


with Golem(budget=1) as golem:
    golem.run_service(Roman).wait()

print("It cost", golem.cost)
