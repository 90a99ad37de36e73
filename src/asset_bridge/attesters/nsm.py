"""AWS Nitro Enclaves: attestation documents from the NSM device by one ioctl.

Source: the NSM's public interface (ioctl 0x0A/0 with two buffers, CBOR in and out, request at most 0x1000, answer at most 0x3000 bytes);
spec/attestation.md §11. The binding goes into `user_data`, the asker's nonce into `nonce`. Not met by hardware yet: run against a stand-in.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import cbor2

from asset_bridge.attestation import evidence
from asset_bridge.attestation.binding import Binding
from asset_bridge.attesters.errors import broken, unavailable

DEVICE = Path("/dev/nsm")
MAX_REQUEST_BYTES, MAX_ANSWER_BYTES = 0x1000, 0x3000
_IOCTL = 0xC0200A00  # _IOWR(0x0A, 0, 32 bytes: two iovecs)
NO_AUX: Mapping[str, bytes] = {}
Exchange = Callable[[bytes], bytes]


class NsmAttester:
    """Evidence of this enclave. `exchange` sends one request to the device; a stand-in in tests."""

    kind = "aws-nitro"
    tee = "nitro"

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange or exchange_with_device

    def collect(self, binding: Binding, aux: Mapping[str, bytes] = NO_AUX) -> bytes:
        """Evidence that binds `binding`; UnavailableError(attesters.device | .permission | .busy), TamperedError(attesters.contract)."""
        wanted = {"user_data": binding.report_data(), "nonce": binding.nonce, "public_key": None}
        request = cbor2.dumps({"Attestation": wanted})
        if len(request) > MAX_REQUEST_BYTES:
            raise broken("the request is larger than the device takes")
        try:
            answer = self._exchange(request)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise unavailable("permission", "the NSM device is for root only") from None
            if error.errno in (errno.EBUSY, errno.EAGAIN):
                raise unavailable("busy", "the NSM device is busy") from None
            if error.errno == errno.EMSGSIZE:
                raise broken("the device's answer does not fit (EMSGSIZE)") from None
            raise unavailable("device", "this machine has no NSM device: it is no Nitro enclave") from None
        return evidence.build(self.kind, _document(answer), aux, binding)


def _document(answer: bytes) -> bytes:
    if len(answer) > MAX_ANSWER_BYTES:
        raise broken("the device's answer is larger than it may be")
    stream = io.BytesIO(answer)
    try:
        found = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        raise broken("the device's answer is not CBOR") from None
    if stream.tell() != len(answer):
        raise broken("bytes follow the device's answer")
    inner = found.get("Attestation") if isinstance(found, dict) else None
    document = inner.get("document") if isinstance(inner, dict) else None
    if not isinstance(document, bytes) or not document:
        reason = found.get("Error") if isinstance(found, dict) else None
        raise broken(f"the device gave no document{f': {reason}'[:60] if isinstance(reason, str) else ''}")
    return document


class _Buffer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (("request", _Buffer), ("answer", _Buffer))


def exchange_with_device(request: bytes) -> bytes:
    """One request to /dev/nsm; OSError as the kernel gives it."""
    asked, answered = ctypes.create_string_buffer(request, len(request)), ctypes.create_string_buffer(MAX_ANSWER_BYTES)
    message = _Message(
        _Buffer(ctypes.addressof(asked), len(request)), _Buffer(ctypes.addressof(answered), MAX_ANSWER_BYTES)
    )
    descriptor = os.open(DEVICE, os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, _IOCTL, message)
    finally:
        os.close(descriptor)
    return answered.raw[: message.answer.length]
