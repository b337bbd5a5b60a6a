"""`simple-golem local images`, and advice about the programs of built-in images."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..local.images.built_in.small_root import busybox
from ..local.images.image_store import NO_IMAGE, ImageStore
from ..local.machine.folders import cache_folder
from ..model.base.table import text_table

_COLUMNS = ("tag", "hash", "MB", "volumes", "working folder", "from")
_WRITABLE = "Each activity has a writable layer of its own over its image."
_READ_ONLY = (
    "This machine can't lay a writable layer over an image (Linux can from 6.6 on). In an activity, only its "
    "volumes, /tmp, /run, /var, /root and /home can be written to, and are empty at first."
)
_ADVICE = (
    "this machine has no busybox: in golem/alpine its own programs of the same names stand in. "
    "To change that: sudo apt install busybox-static"
)


def add_image_commands(commands: Any, add_images: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command to the parser of `simple-golem local`; `add_images` adds the option `--image`."""
    images = commands.add_parser(
        "images",
        help="list the images of a local network",
        description="List the images that a local network has, and say what activities can write to.",
        epilog="example: simple-golem local images --image me/mine:1=mine.gvmi",
    )
    add_images(images)
    images.set_defaults(command=show_images)


def show_images(options: argparse.Namespace) -> int:
    """Print the images; unpacks those that are not in the cache."""
    from ..local.sandbox.sandbox import Sandbox

    store = ImageStore.with_options(options.image)
    store.unpack()
    rows = []
    for image in store:
        unpacked = store.unpacked(image.source)
        config = unpacked.config
        size = sum(path.lstat().st_size for root in unpacked.roots for path in root.rglob("*"))
        volumes = " ".join(config.volumes) or "-"
        shown = (image.tag or "-", image.hash, f"{size / 1e6:.0f}", volumes, config.work_folder)
        rows.append((*shown, str(image.source)))
    print(text_table(_COLUMNS, rows))
    with Sandbox(store.unpacked(NO_IMAGE).roots) as sandbox:
        print(_WRITABLE if sandbox.is_writable else _READ_ONLY)
    return 0


def advice_about_busybox() -> str | None:
    """Return what to install for more likeness; None if there is nothing, or it was said before."""
    said = Path(cache_folder(), "busybox-advice")
    if busybox() is not None or said.exists():
        return None
    said.touch()
    return _ADVICE
