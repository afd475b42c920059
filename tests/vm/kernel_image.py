"""From an unpacked Debian kernel package to what QEMU and the guest's init load: an ELF vmlinux and plain modules."""

import lzma
import os
import struct
import subprocess

# What the guest needs beyond what Debian's cloud kernels have built in.
MODULES = ["overlay", "zram", "loop"]

# The two-byte and four-byte starts of the compressed kernels that Debian has shipped.
ZSTD = b"\x28\xb5\x2f\xfd"
XZ = b"\xfd7zXZ"


class KernelError(Exception):
    """The kernel's files are not as expected; the message names the file."""


def extract_vmlinux(bz_image, vmlinux, zstd):
    """Writes the ELF kernel inside `bz_image`: the guest is up a second sooner than when it unpacks itself under TCG.

    The offsets are those of the kernel's Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset and
    payload_length at 0x248. `zstd` is the command that decompresses its standard input.
    """
    with open(bz_image, "rb") as file:
        image = file.read()
    if image[0x202:0x206] != b"HdrS":
        raise KernelError(f"{bz_image} is no x86 boot image: 'HdrS' is not at 0x202")
    payload_offset, payload_length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * 512 + payload_offset
    # The last four bytes are the uncompressed size, added by the kernel's build.
    payload, size = image[start : start + payload_length - 4], image[start + payload_length - 4 :][:4]
    if payload.startswith(ZSTD):
        elf = subprocess.run([*zstd, "-dcq"], input=payload, stdout=subprocess.PIPE, check=True).stdout
    elif payload.startswith(XZ):
        elf = lzma.decompress(payload)
    else:
        raise KernelError(f"{bz_image}: compressed in a way not known here, it starts with {payload[:6].hex()}")
    if not elf.startswith(b"\x7fELF") or len(elf) != struct.unpack("<I", size)[0]:
        raise KernelError(f"{bz_image}: what came out is no ELF file of the size that the image states")
    with open(vmlinux, "wb") as file:
        file.write(elf)


def collect_modules(tree, folder):
    """Writes MODULES and what they depend on, decompressed, to `folder`, with the load order of each in NAME.order."""
    files = {}
    for parent, _, names in os.walk(tree):
        for name in names:
            if name.endswith((".ko", ".ko.xz")):
                files[name.split(".ko")[0].replace("-", "_")] = os.path.join(parent, name)
    os.makedirs(folder, exist_ok=True)
    for wanted in MODULES:
        order = []
        if wanted in files:
            _add_with_dependencies(wanted, files, folder, order)
        # A module that isn't there is built in; its order is empty.
        with open(os.path.join(folder, f"{wanted}.order"), "w", encoding="ascii") as file:
            file.writelines(f"{name}.ko\n" for name in order)


def _add_with_dependencies(name, files, folder, order):
    if name in order:
        return
    with open(files[name], "rb") as file:
        module = file.read()
    if files[name].endswith(".xz"):
        module = lzma.decompress(module)
    for needed in _depends(module):
        if needed in files:
            _add_with_dependencies(needed, files, folder, order)
    with open(os.path.join(folder, f"{name}.ko"), "wb") as file:
        file.write(module)
    order.append(name)


def _depends(module):
    """Names in the `depends=` entry of a module's .modinfo section, which is a list of NUL-terminated strings."""
    start = module.find(b"\0depends=")
    if start < 0:
        return []
    value = module[start + len(b"\0depends=") :].split(b"\0", 1)[0].decode("ascii")
    return [name.replace("-", "_") for name in value.split(",") if name]
