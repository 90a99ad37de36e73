"""The state in which a virtual processor of an SEV-SNP guest begins, as the page that is measured.

Source: AMD64 manual volume 2, table B-4 (save area of SEV-ES guests) for the places; the architecture's state after INIT for the values,
with what KVM and QEMU set for these guests: EFER.SVME, CR4.MCE, and the signature in RDX. Pure.
"""

from __future__ import annotations

import struct

PAGE_BYTES = 4096
_SEGMENTS = {  # place: selector, attributes, limit; bases are zero but for the code segment
    0x000: (0, 0x93, 0xFFFF),  # ES
    0x020: (0, 0x93, 0xFFFF),  # SS
    0x030: (0, 0x93, 0xFFFF),  # DS
    0x040: (0, 0x93, 0xFFFF),  # FS
    0x050: (0, 0x93, 0xFFFF),  # GS
    0x060: (0, 0, 0xFFFF),  # GDTR
    0x070: (0, 0x82, 0xFFFF),  # LDTR
    0x080: (0, 0, 0xFFFF),  # IDTR
    0x090: (0, 0x8B, 0xFFFF),  # TR
}
_CODE_SEGMENT = 0x010
_WORDS = {
    0x0D0: 0x1000,  # EFER
    0x148: 0x40,  # CR4
    0x158: 0x10,  # CR0
    0x160: 0x400,  # DR7
    0x168: 0xFFFF0FF0,  # DR6
    0x170: 0x2,  # RFLAGS
    0x268: 0x0007040600070406,  # G_PAT
    0x3E8: 0x1,  # XCR0
}
_RIP, _RDX, _SEV_FEATURES, _MXCSR, _X87_FCW = 0x178, 0x310, 0x3B0, 0x408, 0x410


def first_state(begins_at: int, signature: int, features: int) -> bytes:
    """The page of a processor that begins at this address; `signature`: CPUID function 1, EAX; `features`: SEV_FEATURES."""
    page = bytearray(PAGE_BYTES)
    for place, (selector, attributes, limit) in _SEGMENTS.items():
        struct.pack_into("<HHIQ", page, place, selector, attributes, limit, 0)
    struct.pack_into("<HHIQ", page, _CODE_SEGMENT, 0xF000, 0x9B, 0xFFFF, begins_at & 0xFFFF0000)
    words = {**_WORDS, _RIP: begins_at & 0xFFFF, _RDX: signature, _SEV_FEATURES: features}
    for place, value in words.items():
        struct.pack_into("<Q", page, place, value)
    struct.pack_into("<I", page, _MXCSR, 0x1F80)
    struct.pack_into("<H", page, _X87_FCW, 0x37F)
    return bytes(page)


def signature_of(family: int, model: int, stepping: int) -> int:
    """CPUID function 1, EAX, of a processor (AMD64 manual volume 3, appendix E)."""
    base, extended = (0xF, family - 0xF) if family > 0xF else (family, 0)
    return extended << 20 | (model >> 4 & 0xF) << 16 | base << 8 | (model & 0xF) << 4 | stepping & 0xF


PROCESSORS = {
    "EPYC": signature_of(23, 1, 2),
    "EPYC-Rome": signature_of(23, 49, 0),
    "EPYC-Milan": signature_of(25, 1, 1),
    "EPYC-Genoa": signature_of(25, 17, 0),
    "EPYC-Turin": signature_of(26, 0, 0),
}
"""Names of QEMU's processor models with the signature they show; `-v1` and so on show the same."""
