"""Realistic demonstration data: synthetic patients, laboratory results and medical images in one folder.

    fhir/{Patient,Encounter,Condition,Observation,MedicationRequest}.ndjson    FHIR R4 (4.0.1), one resource a line
    labs/lab-results.csv                                                       the laboratory Observations as a table
    imaging/*.dcm                                                              DICOM images from the pydicom package
    README.txt                                                                 what this is

Promises: the same seed and number of patients give the same bytes; no patient is a person; no network.
Does not promise: that the images belong to the patients; they are the published test images of pydicom.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from asset_bridge.client.demo_data.people import people
from asset_bridge.client.demo_data.records import Resource, patient_id, resources
from asset_bridge.errors import InputError, UnavailableError

PATIENTS = 120
RESOURCE_TYPES = ("Patient", "Encounter", "Condition", "Observation", "MedicationRequest")

# Images that the pydicom wheel carries itself: CT, MR, ultrasound, secondary capture; plain and JPEG 2000.
IMAGES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "JPEG2000.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "liver_1frame.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
)
LAB_COLUMNS = (
    "observation_id",
    "patient_id",
    "collected_at",
    "loinc",
    "test",
    "value",
    "unit",
    "reference_low",
    "reference_high",
    "flag",
)
README = """\
Synthetic demonstration data of Asset Bridge. No patient in it is or was a person.

fhir/      {patients} patients as FHIR R4 (4.0.1) resources, one file a type, one resource a line (NDJSON)
labs/      the laboratory Observations as a CSV table
imaging/   DICOM files that ship with the Python package pydicom; they belong to none of the patients

Codes are of SNOMED CT, LOINC and RxNorm; their owners' terms apply to them. Units are UCUM. Seed {seed}.
"""


@dataclass(frozen=True, slots=True)
class DemoData:
    """What was written: the folder, its files and bytes, and how many resources of each type."""

    folder: Path
    files: int
    total_bytes: int
    resources: dict[str, int]


def generate(folder: Path, seed: int = 1, patients: int = PATIENTS) -> DemoData:
    """Write the demonstration data into `folder`, which must be empty or not exist.

    Raises:
        InputError(demo.patients): `patients` is below 1.
        InputError(demo.folder-not-empty): `folder` holds something already.
        UnavailableError(demo.no-images): the package pydicom, which carries the images, is not installed.
    """
    if patients < 1:
        raise InputError("demo.patients", f"Demonstration data needs at least one patient, not {patients}.")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            "demo.folder-not-empty",
            "The folder for the demonstration data holds files already.",
            hint="name a new folder",
        )
    images = image_folder()
    for name in ("fhir", "labs", "imaging"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    counts = write_records(folder, seed, patients)
    for name in IMAGES:
        shutil.copyfile(images / name, folder / "imaging" / name)
    (folder / "README.txt").write_text(README.format(patients=patients, seed=seed), encoding="utf-8", newline="\n")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return DemoData(folder, len(files), sum(path.stat().st_size for path in files), counts)


def write_records(folder: Path, seed: int, patients: int) -> dict[str, int]:
    """Write the FHIR files and the table of laboratory results; the number of resources of each type."""
    counts: Counter[str] = Counter()
    files = {
        name: (folder / "fhir" / f"{name}.ndjson").open("w", encoding="utf-8", newline="\n") for name in RESOURCE_TYPES
    }
    try:
        with (folder / "labs" / "lab-results.csv").open("w", encoding="utf-8", newline="") as table:
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(LAB_COLUMNS)
            for patient in people(seed, patients):
                for resource in resources(patient):
                    kind = resource["resourceType"]
                    files[kind].write(json.dumps(resource, ensure_ascii=False, separators=(",", ":")) + "\n")
                    counts[kind] += 1
                    if kind == "Observation" and is_laboratory(resource):
                        rows.writerow(lab_row(resource, patient_id(patient)))
    finally:
        for file in files.values():
            file.close()
    return dict(counts)


def is_laboratory(observation: Resource) -> bool:
    """Whether an Observation is a laboratory result."""
    return bool(observation["category"][0]["coding"][0]["code"] == "laboratory")


def lab_row(observation: Resource, patient: str) -> list[object]:
    """One row of the table of laboratory results."""
    coding, quantity = observation["code"]["coding"][0], observation["valueQuantity"]
    ends = observation["referenceRange"][0]
    return [
        observation["id"],
        patient,
        observation["effectiveDateTime"],
        coding["code"],
        coding["display"],
        quantity["value"],
        quantity["unit"],
        ends.get("low", {}).get("value", ""),
        ends.get("high", {}).get("value", ""),
        observation["interpretation"][0]["coding"][0]["code"],
    ]


def image_folder() -> Path:
    """Where the installed pydicom keeps its images; found without importing it, which takes a second."""
    spec = importlib.util.find_spec("pydicom")
    folder = Path(spec.origin).parent / "data" / "test_files" if spec and spec.origin else None
    if folder is None or not all((folder / name).is_file() for name in IMAGES):
        raise UnavailableError(
            "demo.no-images",
            "The demonstration's medical images come with the package pydicom, which is not installed whole.",
            hint="pip install 'asset-bridge[demo]', or bring your own data with --data",
        )
    return folder
