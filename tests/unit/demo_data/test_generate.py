"""The demonstration data: FHIR R4, every reference resolves, values agree, same seed same bytes.

The schema check is fhirclient's, whose models are generated from FHIR 4.0.1, which is R4 (fhir.resources carries R4B,
4.3.0). It refuses unknown members, wrong types, wrong cardinality and malformed dates; codes of required value sets it does not
look up, so those are checked here.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from fhirclient.models import condition, encounter, medicationrequest, observation, patient

from asset_bridge.client.demo_data import IMAGES, RESOURCE_TYPES, codes, generate
from asset_bridge.client.demo_data.people import TODAY, egfr
from asset_bridge.errors import InputError, UnavailableError
from tests.support.depth import depth

Resource = dict[str, Any]
MODELS: dict[str, Callable[[Resource], Any]] = {
    "Patient": patient.Patient,
    "Encounter": encounter.Encounter,
    "Condition": condition.Condition,
    "Observation": observation.Observation,
    "MedicationRequest": medicationrequest.MedicationRequest,
}
# The required value sets of FHIR R4 4.0.1 that the data uses: path → the codes it may hold.
REQUIRED = {
    ("Patient", "gender"): {"male", "female", "other", "unknown"},
    ("Encounter", "status"): {
        "planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled", "entered-in-error", "unknown",
    },
    ("Observation", "status"): {
        "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown",
    },
    ("MedicationRequest", "status"): {
        "active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown",
    },
    ("MedicationRequest", "intent"): {
        "proposal", "plan", "order", "original-order", "reflex-order", "filler-order", "instance-order", "option",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo") / "data"
    generate(made)
    return made


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, list[Resource]]:
    return {
        kind: [json.loads(line) for line in (folder / "fhir" / f"{kind}.ndjson").read_text().splitlines()]
        for kind in RESOURCE_TYPES
    }


def day(text: str) -> date:
    return datetime.fromisoformat(text).date()


def code_of(resource: Resource, member: str = "code") -> str:
    return str(resource[member]["coding"][0]["code"])


def test_the_default_is_large_enough_and_quick(tmp_path: Path) -> None:
    started_at = time.monotonic()
    made = generate(tmp_path / "data")
    assert time.monotonic() - started_at < 20  # 1.4 s measured; a loaded machine gets room
    assert made.total_bytes >= 20_000_000
    assert made.total_bytes == sum(path.stat().st_size for path in made.folder.rglob("*") if path.is_file())
    assert made.files == len(RESOURCE_TYPES) + len(IMAGES) + 2
    assert set(made.resources) == set(RESOURCE_TYPES)
    assert min(made.resources.values()) >= 50


def test_every_kind_of_resource_parses_as_fhir_r4(records: dict[str, list[Resource]]) -> None:
    for kind, resources in records.items():
        step = max(1, len(resources) // depth("demo_data_fhir_parsed"))
        for resource in resources[::step]:
            parsed = MODELS[kind](resource)
            assert parsed.as_json() == resource


def test_the_schema_check_refuses_what_is_not_r4(records: dict[str, list[Resource]]) -> None:
    sample = records["Observation"][0]
    for change in ({"colour": "red"}, {"effectiveDateTime": "yesterday"}, {"status": None}, {"valueQuantity": 3}):
        with pytest.raises(Exception, match=r"\w"):
            MODELS["Observation"]({**sample, **change})


def test_codes_of_required_value_sets_are_of_them(records: dict[str, list[Resource]]) -> None:
    for (kind, member), allowed in REQUIRED.items():
        assert {resource[member] for resource in records[kind]} <= allowed


def test_ids_are_unique_and_every_reference_resolves(records: dict[str, list[Resource]]) -> None:
    names = [f"{kind}/{resource['id']}" for kind, resources in records.items() for resource in resources]
    known = set(names)
    assert len(known) == len(names)
    found = 0

    def look(value: object) -> None:
        nonlocal found
        if isinstance(value, dict):
            if "reference" in value:
                found += 1
                assert value["reference"] in known
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(records)
    assert found > len(names)


def test_every_code_is_one_of_the_table(records: dict[str, list[Resource]]) -> None:
    tables = (codes.SNOMED, codes.LOINC, codes.RXNORM)
    known = {
        (code.system, code.code, code.display)
        for value in vars(codes).values()
        for code in [value.code if isinstance(value, codes.Measure) else value]
        if isinstance(code, codes.Code)
    }
    seen: set[tuple[str, str, str]] = set()

    def look(value: object) -> None:
        if isinstance(value, dict):
            if value.get("system") in tables:
                seen.add((value["system"], value["code"], value["display"]))
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(records)
    assert seen == known


def test_dates_follow_each_other(records: dict[str, list[Resource]]) -> None:
    births = {f"Patient/{p['id']}": date.fromisoformat(p["birthDate"]) for p in records["Patient"]}
    visits = {f"Encounter/{e['id']}": e for e in records["Encounter"]}
    conditions = {f"Condition/{c['id']}": c for c in records["Condition"]}
    for visit in visits.values():
        start, end = (datetime.fromisoformat(visit["period"][name]) for name in ("start", "end"))
        assert births[visit["subject"]["reference"]] < start.date()
        assert start < end
        assert end.date() < TODAY
    for illness in conditions.values():
        onset, recorded = day(illness["onsetDateTime"]), day(illness["recordedDate"])
        assert births[illness["subject"]["reference"]] < onset <= recorded < TODAY
        assert illness["recordedDate"] == visits[illness["encounter"]["reference"]]["period"]["start"]
    for result in records["Observation"]:
        visit = visits[result["encounter"]["reference"]]
        assert visit["subject"] == result["subject"]
        assert visit["period"]["start"] < result["effectiveDateTime"] < visit["period"]["end"]
        assert result["effectiveDateTime"] < result["issued"]
    for request in records["MedicationRequest"]:
        reason = conditions[request["reasonReference"][0]["reference"]]
        assert reason["subject"] == request["subject"]
        assert reason["recordedDate"] < request["authoredOn"]


def test_each_medicine_is_for_its_illness_and_the_last_one_is_active(records: dict[str, list[Resource]]) -> None:
    treats = {
        codes.METFORMIN.code: codes.DIABETES.code,
        codes.LISINOPRIL.code: codes.HYPERTENSION.code,
        codes.SIMVASTATIN.code: codes.HYPERLIPIDEMIA.code,
        codes.ALBUTEROL.code: codes.ASTHMA.code,
        codes.FERROUS_SULFATE.code: codes.ANEMIA.code,
    }
    conditions = {f"Condition/{c['id']}": c for c in records["Condition"]}
    by_reason: dict[str, list[Resource]] = defaultdict(list)
    for request in records["MedicationRequest"]:
        reason = request["reasonReference"][0]["reference"]
        assert code_of(conditions[reason]) == treats[code_of(request, "medicationCodeableConcept")]
        by_reason[reason].append(request)
    for requests in by_reason.values():
        last = max(requests, key=lambda request: request["authoredOn"])
        assert [request["id"] for request in requests if request["status"] == "active"] == [last["id"]]
    treated = {name for name, c in conditions.items() if code_of(c) in treats.values()}
    assert set(by_reason) == treated


def values_by_visit(records: dict[str, list[Resource]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for result in records["Observation"]:
        for part in [result, *result.get("component", [])]:
            if "valueQuantity" in part:
                found[result["encounter"]["reference"]][code_of(part)] = part["valueQuantity"]["value"]
    return found


def test_measured_values_show_the_illness_from_its_onset_and_not_before(records: dict[str, list[Resource]]) -> None:
    women = {f"Patient/{p['id']}" for p in records["Patient"] if p["gender"] == "female"}
    onsets: dict[tuple[str, str], date] = {
        (c["subject"]["reference"], code_of(c)): day(c["onsetDateTime"]) for c in records["Condition"]
    }
    measured = values_by_visit(records)
    ill_and_well = {True: 0, False: 0}
    for visit in records["Encounter"]:
        person, when = visit["subject"]["reference"], day(visit["period"]["start"])
        values = measured[f"Encounter/{visit['id']}"]
        rules = (
            (codes.DIABETES, codes.HBA1C, lambda v: v >= 6.5),
            (codes.DIABETES, codes.GLUCOSE, lambda v: v >= 126),
            (codes.HYPERTENSION, codes.SYSTOLIC, lambda v: v >= 130),
            (codes.HYPERLIPIDEMIA, codes.LDL, lambda v: v >= 159),
            (codes.KIDNEY_DISEASE, codes.EGFR, lambda v: 30 <= v < 60),
            (codes.ANEMIA, codes.HEMOGLOBIN, lambda v, p=person: v < (12.0 if p in women else 13.5)),
        )
        for illness, measure, shows in rules:
            if measure.code.code in values:
                ill = onsets.get((person, illness.code), TODAY) <= when
                assert shows(values[measure.code.code]) == ill, (visit["id"], illness.display)
                ill_and_well[ill] += 1
        if onsets.get((person, codes.ASTHMA.code), TODAY) <= when:
            assert values[codes.FEV1_FVC.code.code] < 70
        else:
            assert codes.FEV1_FVC.code.code not in values
    assert min(ill_and_well.values()) > 300


def test_derived_values_follow_from_the_measured_ones(records: dict[str, list[Resource]]) -> None:
    people = {f"Patient/{p['id']}": p for p in records["Patient"]}
    visits = {f"Encounter/{e['id']}": e for e in records["Encounter"]}
    heights = {}
    for result in records["Observation"]:
        if code_of(result) == codes.HEIGHT.code.code:
            heights[result["subject"]["reference"]] = result["valueQuantity"]["value"]
    assert set(heights) == set(people)
    for name, values in values_by_visit(records).items():
        person = people[visits[name]["subject"]["reference"]]
        height_m = heights[visits[name]["subject"]["reference"]] / 100
        assert values[codes.BMI.code.code] == round(values[codes.WEIGHT.code.code] / height_m**2, 1)
        assert 14 < values[codes.BMI.code.code] < 60
        if codes.TOTAL_CHOLESTEROL.code.code in values:
            total, hdl, fats = (
                values[measure.code.code]
                for measure in (codes.TOTAL_CHOLESTEROL, codes.HDL, codes.TRIGLYCERIDES)
            )  # fmt: skip
            assert values[codes.LDL.code.code] == round(total - hdl - fats / 5)
        if codes.CREATININE.code.code in values:
            born, when = date.fromisoformat(person["birthDate"]), day(visits[name]["period"]["start"])
            age = when.year - born.year - ((when.month, when.day) < (born.month, born.day))
            rate = egfr(values[codes.CREATININE.code.code], age, person["gender"] == "female")
            assert values[codes.EGFR.code.code] == rate


def test_the_egfr_formula_gives_known_answers() -> None:
    # Computed by hand from Inker and others 2021: 142 × 0.9938^50 × 1.012 at the knee, and a raised creatinine.
    assert egfr(0.7, 50, female=True) == 105
    assert egfr(0.9, 50, female=False) == 104
    assert egfr(1.8, 60, female=False) == 43


def test_units_and_flags_agree_with_the_table(records: dict[str, list[Resource]]) -> None:
    measures = {m.code.code: m for m in vars(codes).values() if isinstance(m, codes.Measure)}
    flags = set()
    for result in records["Observation"]:
        for part in [result, *result.get("component", [])]:
            if "valueQuantity" not in part:
                continue
            measure, quantity = measures[code_of(part)], part["valueQuantity"]
            assert (quantity["code"], quantity["unit"], quantity["system"]) == (measure.ucum, measure.unit, codes.UCUM)
            if measure.low is not None or measure.high is not None:
                low = measure.low is not None and quantity["value"] < measure.low
                high = measure.high is not None and quantity["value"] > measure.high
                flag = part["interpretation"][0]["coding"][0]["code"]
                assert flag == ("L" if low else "H" if high else "N")
                flags.add(flag)
    assert flags == {"L", "H", "N"}


def test_the_table_of_laboratory_results_equals_the_observations(
    folder: Path, records: dict[str, list[Resource]]
) -> None:
    with (folder / "labs" / "lab-results.csv").open(newline="") as file:
        rows = {row["observation_id"]: row for row in csv.DictReader(file)}
    results = [r for r in records["Observation"] if r["category"][0]["coding"][0]["code"] == "laboratory"]
    assert {r["id"] for r in results} == set(rows)
    for result in results:
        row = rows[result["id"]]
        assert f"Patient/{row['patient_id']}" == result["subject"]["reference"]
        assert row["collected_at"] == result["effectiveDateTime"]
        assert row["loinc"] == code_of(result)
        assert float(row["value"]) == result["valueQuantity"]["value"]
        assert row["unit"] == result["valueQuantity"]["unit"]
        assert row["flag"] == result["interpretation"][0]["coding"][0]["code"]


def test_the_images_are_dicom_and_ship_with_the_package(folder: Path) -> None:
    import pydicom

    shipped = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in IMAGES:
        copy = folder / "imaging" / name
        assert copy.read_bytes() == (shipped / name).read_bytes()
        read = pydicom.dcmread(copy)
        assert read.Modality
        assert "PixelData" in read


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def digests(name: str, seed: int) -> dict[str, str]:
        made = generate(tmp_path / name, seed=seed, patients=5).folder
        return {
            str(path.relative_to(made)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in made.rglob("*")
            if path.is_file()
        }

    first = digests("first", 7)
    assert first == digests("again", 7)
    other = digests("other", 8)
    assert all(first[name] != other[name] for name in first if name.startswith(("fhir", "labs")))


def test_the_bytes_of_a_seed_never_change(tmp_path: Path) -> None:
    made = generate(tmp_path / "data", seed=1, patients=3).folder
    whole = hashlib.sha256()
    for kind in RESOURCE_TYPES:
        whole.update((made / "fhir" / f"{kind}.ndjson").read_bytes())
    assert whole.hexdigest() == "a13b92577d51077d5b51e73ac1b0f7a95a770d7137c2b2dc32083666b96dd060"


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(InputError) as caught:
        generate(tmp_path)
    assert caught.value.code == "demo.folder-not-empty"
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_no_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        generate(tmp_path / "data", patients=0)
    assert caught.value.code == "demo.patients"
    assert not (tmp_path / "data").exists()


def test_without_the_images_package_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError) as caught:
        generate(tmp_path / "data")
    assert caught.value.code == "demo.no-images"
    assert not (tmp_path / "data").exists()
