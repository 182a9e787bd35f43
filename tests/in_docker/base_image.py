"""A base image out of the Python that runs, for where no registry can be reached.

The interpreter goes to /usr/local with its standard library, with pip, and with the shared libraries that they have
mapped when all of them are loaded. There is nothing else in it: no shell, no package manager, no users.
"""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pip

LIBRARIES = ("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "librt.so.1", "libpthread.so.0", "libdl.so.2")
"""What wheels may take for granted, besides libc and libm."""
LEFT_OUT = frozenset({"__pycache__", "test", "tests", "site-packages", "ensurepip", "idlelib", "tkinter", "turtledemo"})

_MAPPED = """
import ctypes, importlib, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("*.so"):
    name = path.name.split(".")[0]
    if name not in ("_tkinter", "_crypt") and "test" not in name:
        importlib.import_module(name)
for name in sys.argv[2:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        pass
lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
print("\\n".join({line.split(maxsplit=5)[5] for line in lines if ".so" in line.split()[-1]}))
"""


def make(client: docker.DockerClient, tag: str) -> None:
    """Import it into the engine under this tag."""
    client.api.import_image_from_data(
        _tar(),
        *tag.split(":"),
        changes=["ENV PATH=/usr/local/bin", "ENV LD_LIBRARY_PATH=/usr/local/lib", "ENV LANG=C.UTF-8"],
    )


def _tar() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, mode in (("tmp", 0o1777), ("etc", 0o755), ("opt", 0o755)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            tar.addfile(folder)
        for source, target in _files():
            tar.add(source, target, recursive=False, filter=_of_root)
        for name in ("python3", "python"):
            link = tarfile.TarInfo(f"usr/local/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, _NAME
            tar.addfile(link)
    return raw.getvalue()


_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
_LIBRARY = Path("usr/local/lib", _NAME)


def _files() -> Iterator[tuple[Path, str]]:
    """What goes where."""
    standard = Path(sysconfig.get_path("stdlib"))
    extensions = Path(sysconfig.get_config_var("DESTSHARED") or standard / "lib-dynload")
    yield Path(sys.executable).resolve(), f"usr/local/bin/{_NAME}"
    yield from _tree(standard, _LIBRARY)
    yield from _tree(Path(pip.__path__[0]), _LIBRARY / "site-packages" / "pip")
    mapped = [sys.executable, "-c", _MAPPED, str(extensions), *LIBRARIES]
    for line in subprocess.run(mapped, check=True, capture_output=True, text=True).stdout.splitlines():
        library = Path(line)
        if standard in library.parents:
            continue
        if library.name.startswith("ld-"):
            yield library, _loader_path()  # all others are found by LD_LIBRARY_PATH
            continue
        # Mapped is libz.so.1.2.13, asked for libz.so.1.
        for name in library.parent.glob(f"{library.name.split('.so')[0]}.so*"):
            if name == library or (name.resolve() == library.resolve() and name.suffixes[-1] != ".so"):
                yield library, f"usr/local/lib/{name.name}"


def _loader_path() -> str:
    """Where programs look for the loader: as the interpreter does, by its ELF header's PT_INTERP."""
    content = Path(sys.executable).resolve().read_bytes()
    start = content.index(b"/lib", 0, 4096)
    return content[start : content.index(b"\0", start)].decode().lstrip("/")


def _tree(source: Path, target: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if not LEFT_OUT.intersection(inside.parts) and not path.is_dir() and path.suffix != ".a":
            yield path.resolve(), str(target / inside)


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
