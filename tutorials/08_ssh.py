"""SSH into an instance: a proxy makes its port 22 a port of this machine."""

import subprocess
from pathlib import Path

from simple_golem import Golem, Run, Service, TcpProxy, vm

KEY = Path("golem-key")  # it lets you in; `golem-key.pub` is the half of it that the instance gets


class SshServer(Service):
    # An image that has OpenSSH's server.
    payload = vm.repo(image_hash="1e06505997e8bd1b9e1a00bd10d255fc6a390905e4d6840a22a79902")

    def __init__(self, public_key):
        self.public_key = public_key

    def start(self):
        self.execute(
            Run("/usr/bin/ssh-keygen", "-A"),  # the server's own keys
            Run.shell("mkdir -p /run/sshd /root/.ssh"),
            Run.shell(f"echo '{self.public_key}' > /root/.ssh/authorized_keys"),
            Run("/usr/sbin/sshd"),  # goes on in the background
        )
        self.wait_for_port(22)


if not KEY.exists():
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY], check=True)
params = [{"public_key": KEY.with_suffix(".pub").read_text().strip()}]

with Golem(budget=1) as golem:
    (instance,) = golem.run_service(SshServer, instance_params=params, network=True).wait_until_running(240)
    with TcpProxy(instance, 22) as proxy:
        print(f"You are root on {instance.provider_name}; `exit` ends it", flush=True)
        # Each instance makes keys of its own, which `ssh` can't know from before.
        unknown = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        subprocess.run(["ssh", *unknown, "-i", KEY, "-p", str(proxy.local_port), "root@127.0.0.1"])

print("It cost", golem.cost)
