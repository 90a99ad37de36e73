# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Lists of vendors and measurements
@license Apache-2.0
@notice Which vendors of evidence and which measurements count. Additions wait, removals act at once. A listed pair
        (vendor, measurement) is a class and keeps its number for ever, so that a node carries 10 bits in place of 32 bytes.
        A class's word repeats from when on its vendor counts: whoever asks for a class reads one word.
@custom:spec spec/contracts.md, section 5
@custom:stop The governor removes a vendor or a measurement at once.
"""
from modules import governed

uses: governed

event VendorListed:
    vendor: indexed(uint8)
    active_at: uint256


event VendorRemoved:
    vendor: indexed(uint8)


event MeasurementListed:
    vendor: indexed(uint8)
    measurement: indexed(bytes32)
    active_at: uint256


event MeasurementRemoved:
    vendor: indexed(uint8)
    measurement: indexed(bytes32)


LAST_VENDOR: constant(uint8) = 5
SIMULATED: constant(uint8) = 255
LOW_40: constant(uint256) = 2**40 - 1
# The number above the last class marks a light node. A list of a vendor is written into all its classes, so it has an end.
MAX_CLASSES: constant(uint256) = 1_022
VENDOR: constant(uint256) = 40
VENDOR_ACTIVE_AT: constant(uint256) = 48

vendor_active_at: public(HashMap[uint8, uint256])
_class_of: HashMap[uint8, HashMap[bytes32, uint256]]
# By class number: active_at(40), vendor(8), active_at of the vendor(40).
_classes: HashMap[uint256, uint256]
_class_count: uint256


@external
def list_vendor(vendor: uint8):
    """
    @notice Adds a vendor of evidence.
    """
    governed._only_governor()
    self._list_vendor(vendor, governed._active_at())


@external
def remove_vendor(vendor: uint8):
    """
    @notice Removes a vendor at once: no node with its evidence is live.
    """
    governed._only_governor()
    self._set_vendor(vendor, 0)
    log VendorRemoved(vendor=vendor)


@external
def list_measurement(vendor: uint8, measurement: bytes32):
    """
    @notice Adds a measurement of a vendor.
    """
    governed._only_governor()
    self._list_measurement(vendor, measurement, governed._active_at())


@external
def remove_measurement(vendor: uint8, measurement: bytes32):
    """
    @notice Removes a measurement at once: no node with it is live.
    """
    governed._only_governor()
    self._classes[self._class_of[vendor][measurement]] = 0
    log MeasurementRemoved(vendor=vendor, measurement=measurement)


@view
@external
@reentrant
def measurement_active_at(vendor: uint8, measurement: bytes32) -> uint256:
    """
    @notice From when on a measurement counts, zero when it is not listed.
    """
    return self._classes[self._class_of[vendor][measurement]] & LOW_40


@internal
def _list_vendor(vendor: uint8, active_at: uint256):
    self._check_vendor(vendor)
    assert self.vendor_active_at[vendor] == 0, "registry: already listed"
    self._set_vendor(vendor, active_at)
    log VendorListed(vendor=vendor, active_at=active_at)


@internal
def _set_vendor(vendor: uint8, active_at: uint256):
    self.vendor_active_at[vendor] = active_at
    for group: uint256 in range(1, self._class_count + 1, bound=MAX_CLASSES):
        word: uint256 = self._classes[group]
        # A removed measurement's word is zero, and vendor zero is never listed.
        if word >> VENDOR & 255 == convert(vendor, uint256):
            self._classes[group] = word & ~(LOW_40 << VENDOR_ACTIVE_AT) | active_at << VENDOR_ACTIVE_AT


@internal
def _list_measurement(vendor: uint8, measurement: bytes32, active_at: uint256):
    self._check_vendor(vendor)
    group: uint256 = self._class_of[vendor][measurement]
    if group == 0:
        group = self._class_count + 1
        assert group <= MAX_CLASSES, "registry: too many measurements"
        self._class_count = group
        self._class_of[vendor][measurement] = group
    assert self._classes[group] == 0, "registry: already listed"
    self._classes[group] = (
        active_at | convert(vendor, uint256) << VENDOR | self.vendor_active_at[vendor] << VENDOR_ACTIVE_AT
    )
    log MeasurementListed(vendor=vendor, measurement=measurement, active_at=active_at)


@view
@internal
def _check_vendor(vendor: uint8):
    if vendor == SIMULATED:
        assert governed.development, "registry: simulated evidence needs a development deployment"
    else:
        assert vendor != 0 and vendor <= LAST_VENDOR, "registry: unknown vendor"


@view
@internal
def _class_is_active(group: uint256) -> bool:
    # Class 0 is a node that never had a listed measurement, or is no TEE node; no word is kept under it.
    word: uint256 = self._classes[group]
    return governed._is_active(word & LOW_40) and governed._is_active(word >> VENDOR_ACTIVE_AT)
