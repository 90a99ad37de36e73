# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Lists of vendors and measurements
@license Apache-2.0
@notice Which vendors of evidence and which measurements count. Additions wait, removals act at once. A listed pair
        (vendor, measurement) is a class and keeps its number for ever, so that a node carries 16 bits in place of 32 bytes.
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
LOW_16: constant(uint256) = 2**16 - 1

vendor_active_at: public(HashMap[uint8, uint256])
_class_of: HashMap[uint8, HashMap[bytes32, uint256]]
# By class number: active_at(40), vendor(8).
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
    self.vendor_active_at[vendor] = 0
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
    return self._classes[self._class_of[vendor][measurement]] & (2**40 - 1)


@internal
def _list_vendor(vendor: uint8, active_at: uint256):
    self._check_vendor(vendor)
    assert self.vendor_active_at[vendor] == 0, "registry: already listed"
    self.vendor_active_at[vendor] = active_at
    log VendorListed(vendor=vendor, active_at=active_at)


@internal
def _list_measurement(vendor: uint8, measurement: bytes32, active_at: uint256):
    self._check_vendor(vendor)
    group: uint256 = self._class_of[vendor][measurement]
    if group == 0:
        group = self._class_count + 1
        assert group <= LOW_16, "registry: too many measurements"
        self._class_count = group
        self._class_of[vendor][measurement] = group
    assert self._classes[group] == 0, "registry: already listed"
    self._classes[group] = active_at | convert(vendor, uint256) << 40
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
    word: uint256 = self._classes[group]
    # Class 0 is a node that never had a listed measurement, or is no TEE node.
    if group == 0 or not governed._is_active(word & (2**40 - 1)):
        return False
    return governed._is_active(self.vendor_active_at[convert(word >> 40, uint8)])
