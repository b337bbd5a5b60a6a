"""An image with a server for SSH, as a folder: the built-in one with Python, and paramiko's server as `sshd`.

OpenSSH's own server can't run in a local activity: it changes its groups, which the kernel forbids there.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path

from simple_golem.local.images.built_in.host_programs import libraries
from simple_golem.local.images.built_in.small_root import SmallRoot
from simple_golem.local.images.image_cache import ImageCache

_PACKAGES = ("paramiko", "bcrypt", "cryptography", "cffi", "pynacl", "invoke")

_SSHD = '''#!/usr/local/bin/python3
"""Lets root in by the keys in its folder, and runs a shell; goes on in the background."""

import os, socket, subprocess, sys, threading
import paramiko

class Access(paramiko.ServerInterface):
    def get_allowed_auths(self, username):
        return "publickey"
    def check_auth_publickey(self, username, key):
        with open("/root/.ssh/authorized_keys") as keys:
            known = username == "root" and key.get_base64() in keys.read().split()
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED
    def check_channel_request(self, kind, number):
        return paramiko.OPEN_SUCCEEDED
    def check_channel_shell_request(self, channel):
        threading.Thread(target=shell, args=(channel,)).start()
        return True

def shell(channel):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(["/bin/sh"], **pipes)
    threading.Thread(target=type_in, args=(channel, process.stdin), daemon=True).start()
    while data := process.stdout.read1(65536):
        channel.sendall(data)
    channel.send_exit_status(process.wait())
    channel.close()

def type_in(channel, stdin):
    try:
        while data := channel.recv(65536):
            stdin.write(data)
            stdin.flush()
        stdin.close()
    except BrokenPipeError:
        pass

listener = socket.create_server(("0.0.0.0", 22))
if os.fork():
    sys.exit()
os.setsid()
nothing = os.open(os.devnull, os.O_RDWR)
for stream in range(3):
    os.dup2(nothing, stream)
host_key = paramiko.Ed25519Key.from_private_key_file("/etc/ssh/ssh_host_ed25519_key")
while True:
    connection, _ = listener.accept()
    transport = paramiko.Transport(connection)
    transport.add_server_key(host_key)
    transport.start_server(event=threading.Event(), server=Access())
'''


def ssh_root(folder: Path) -> Path:
    """Make the folder, which has `/usr/sbin/sshd` and `/usr/bin/ssh-keygen`, and return it."""
    (root,) = SmallRoot(with_python=True).unpacked(ImageCache()).roots
    shutil.copytree(root, folder, symlinks=True)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = folder / "usr/local" / sys.platlibdir / python / "site-packages"
    for package in _PACKAGES:
        for file in importlib.metadata.files(package) or ():
            if ".." not in file.parts:
                _copy(Path(str(file.locate())), site_packages / file)
    keygen = shutil.which("ssh-keygen")
    assert keygen is not None
    _copy(Path(keygen), folder / "usr/bin/ssh-keygen")
    (folder / "etc/ssh").mkdir()
    (folder / "root").mkdir(exist_ok=True)
    server = folder / "usr/sbin/sshd"
    server.write_text(_SSHD)
    server.chmod(0o755)
    for path, file in libraries([Path(keygen), *site_packages.rglob("*.so")]).items():
        _copy(file, folder / path[1:])
    return folder


def _copy(source: Path, place: Path) -> None:
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
