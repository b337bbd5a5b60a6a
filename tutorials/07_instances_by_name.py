"""Instances by name: two clients count in a key-value server, and find it by its name."""

from simple_golem import Golem, Run, Service, UploadBytes, vm

PYTHON = vm.repo(image_hash="8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488")
SERVER = b"""import socketserver, threading
values, lock = {}, threading.Lock()
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:  # each line is a key, whose value grows by one
            key = line.decode().strip()
            with lock:
                values[key] = values.get(key, 0) + 1
                self.wfile.write(f"{values[key]}\\n".encode())

socketserver.ThreadingTCPServer(("", 6379), Handler).serve_forever()
"""

CLIENT = b"""import socket, sys
with socket.create_connection((sys.argv[1], 6379), timeout=30) as server:
    lines = server.makefile("rw")
    for _ in range(100):
        print("visits", file=lines, flush=True)
        count = int(lines.readline())
print(count)
"""


class KeyValueServer(Service):
    def start(self):
        self.execute(
            UploadBytes(SERVER, "/golem/in/server.py"),
            Run.shell("python3 /golem/in/server.py > /golem/out/log 2>&1 &"),
        )
        self.wait_for_port(6379)


class Client(Service):
    def __init__(self, server):
        self.server = server  # the host name of the server

    def run(self):
        self.execute(UploadBytes(CLIENT, "/golem/in/client.py"))
        self.count = int(self.shell(f"python3 /golem/in/client.py {self.server}").stdout)


with Golem(budget=1) as golem:
    (server,) = golem.run_service(KeyValueServer, payload=PYTHON, network=True).wait_until_running(240)
    print("The server is", server.host_name, "at", server.ip)
    params = [{"server": server.host_name}] * 2
    clients = golem.run_service(Client, instance_params=params, payload=PYTHON, network=True)
    clients.wait()
    for client in clients:
        print(client.name, "ended at", client.service.count)
    with server.connect(6379) as connection:  # the script can ask, too
        connection.sendall(b"visits\n")
        print("The script is visitor", connection.recv(100).decode().strip())

print("It cost", golem.cost)
