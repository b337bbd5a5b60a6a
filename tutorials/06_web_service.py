"""A web service: two providers serve web pages, and the script reads them through a proxy."""

import requests

from simple_golem import Golem, HttpProxy, Run, Service, vm

PYTHON_IMAGE = "8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488"


class WebServer(Service):
    """Serves one page, on a provider's machine."""

    payload = vm.repo(image_hash=PYTHON_IMAGE)

    def start(self):
        self.execute(
            Run.shell(
                f"mkdir -p /golem/out/www && echo 'Hello from {self.name}' > /golem/out/www/index.html"
            ),
            Run.shell("cd /golem/out/www && python3 -m http.server 80 > /golem/out/log 2>&1 &"),
        )
        self.wait_for_port(80)  # a server needs a moment before it takes connections


with Golem(budget=1) as golem:
    cluster = golem.run_service(WebServer, num_instances=2, network=True)
    cluster.wait_until_running(timeout=240)
    with HttpProxy(cluster, 80) as proxy:
        print("Open", proxy.url, "in a browser while this script runs")
        for _ in range(4):
            print(requests.get(proxy.url, timeout=60).text.strip())
    cluster.stop()

print("It cost", golem.cost)
