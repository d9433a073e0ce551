"""The platforms that wheels are cross-built for."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """A platform, as zig, setuptools and the wheel's name call it."""

    tag: str
    zig: str
    host_platform: str
    libc_name: str = ""  # musl's library by the name that it has where it is installed; zig links with libc.so
    is_32_bit: bool = False

    @property
    def is_macos(self) -> bool:
        """Whether it has no ELF."""
        return self.tag.startswith("macosx")

    @property
    def machine(self) -> str:
        """The processor, as uname(1) says it."""
        return self.host_platform.rpartition("-")[2]


TARGETS = [
    Target("manylinux_2_17_x86_64", "x86_64-linux-gnu.2.17", "linux-x86_64"),
    Target("manylinux_2_17_aarch64", "aarch64-linux-gnu.2.17", "linux-aarch64"),
    Target("musllinux_1_2_x86_64", "x86_64-linux-musl", "linux-x86_64", "libc.musl-x86_64.so.1"),
    Target("musllinux_1_2_aarch64", "aarch64-linux-musl", "linux-aarch64", "libc.musl-aarch64.so.1"),
    Target("manylinux_2_17_i686", "x86-linux-gnu.2.17", "linux-i686", is_32_bit=True),
    Target("manylinux_2_17_armv7l", "arm-linux-gnueabihf.2.17", "linux-armv7l", is_32_bit=True),
    Target("macosx_11_0_arm64", "aarch64-macos.11.0", "macosx-11.0-arm64"),
    Target("macosx_11_0_x86_64", "x86_64-macos.11.0", "macosx-11.0-x86_64"),
]
# Those that can't share the abi3 wheel, by their places: they get wheels of their own, here for the first target alone.
OWN = {"3.14t": "cp314t", "3.15t": "cp315t", "PyPy 3.11": "pp311"}
