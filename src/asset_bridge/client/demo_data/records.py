"""Write synthetic patients down as FHIR R4 (4.0.1) resources, one dictionary each.

Promises: every reference names a resource of the same data set; an instant carries its time zone; the order of
members and of resources is fixed, so that the same patients give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from asset_bridge.client.demo_data import codes
from asset_bridge.client.demo_data.codes import HL7, UCUM, Code, Measure
from asset_bridge.client.demo_data.people import Person, Visit

Resource = dict[str, Any]

# An example hospital's own numbering; a FHIR identifier needs a system that is a URI.
MRN_SYSTEM = "urn:oid:2.16.840.1.113883.19.5"
# Visits last that long here.
VISIT_MINUTES = 30
ZONE = timezone(timedelta(hours=1))


def resources(patient: Person) -> Iterator[Resource]:
    """All resources of one patient, in the order Patient, Encounter, Condition, Observation, MedicationRequest."""
    yield patient_resource(patient)
    for index in range(len(patient.visits)):
        yield encounter(patient, index)
    for index in range(len(patient.illnesses)):
        yield condition(patient, index)
    for index, visit in enumerate(patient.visits):
        yield from observations(patient, index, visit)
    for index in range(len(patient.prescriptions)):
        yield medication_request(patient, index)


def patient_resource(patient: Person) -> Resource:
    """The Patient."""
    return {
        "resourceType": "Patient",
        "id": patient_id(patient),
        "identifier": [{"use": "usual", "system": MRN_SYSTEM, "value": f"{100000 + patient.number}"}],
        "active": True,
        "name": [{"use": "official", "family": patient.family, "given": [patient.given]}],
        "gender": "female" if patient.female else "male",
        "birthDate": patient.birth.isoformat(),
        "address": [{"use": "home", "city": patient.city, "country": patient.country}],
    }


def encounter(patient: Person, index: int) -> Resource:
    """The Encounter of one visit."""
    visit = patient.visits[index]
    return {
        "resourceType": "Encounter",
        "id": encounter_id(patient, index),
        "status": "finished",
        "class": {"system": HL7 + "v3-ActCode", "code": "AMB", "display": "ambulatory"},
        "type": [concept(visit.reason)],
        "subject": subject(patient),
        "period": {"start": instant(visit), "end": instant(visit, VISIT_MINUTES)},
    }


def condition(patient: Person, index: int) -> Resource:
    """The Condition of one illness, recorded at the visit that found it."""
    illness = patient.illnesses[index]
    return {
        "resourceType": "Condition",
        "id": condition_id(patient, index),
        "clinicalStatus": concept(Code(HL7 + "condition-clinical", "active", "Active")),
        "verificationStatus": concept(Code(HL7 + "condition-ver-status", "confirmed", "Confirmed")),
        "category": [concept(Code(HL7 + "condition-category", "encounter-diagnosis", "Encounter Diagnosis"))],
        "code": concept(illness.code),
        "subject": subject(patient),
        "encounter": {"reference": f"Encounter/{encounter_id(patient, illness.visit)}"},
        "onsetDateTime": illness.onset.isoformat(),
        "recordedDate": instant(patient.visits[illness.visit]),
    }


def observations(patient: Person, index: int, visit: Visit) -> Iterator[Resource]:
    """The Observations of one visit: the blood pressure as a panel, tobacco at check-ups, the rest one each."""
    number = 0

    def common(code: Code, category: str) -> Resource:
        nonlocal number
        number += 1
        return {
            "resourceType": "Observation",
            "id": f"{patient_id(patient)}-visit-{index + 1:02}-obs-{number:02}",
            "status": "final",
            "category": [concept(Code(HL7 + "observation-category", category, category.replace("-", " ").title()))],
            "code": concept(code),
            "subject": subject(patient),
            "encounter": {"reference": f"Encounter/{encounter_id(patient, index)}"},
            "effectiveDateTime": instant(visit, 10),
            "issued": instant(visit, 240 if category == "laboratory" else 20),
        }

    pressure = common(codes.BLOOD_PRESSURE, "vital-signs")
    pressure["component"] = [
        {"code": concept(measure.code), **value(measure, visit.values[measure])}
        for measure in (codes.SYSTOLIC, codes.DIASTOLIC)
    ]
    yield pressure
    if visit.reason == codes.CHECK_UP:
        yield {**common(codes.SMOKING, "social-history"), "valueCodeableConcept": concept(patient.smoking)}
    for measure, amount in visit.values.items():
        if measure not in (codes.SYSTOLIC, codes.DIASTOLIC):
            yield {**common(measure.code, measure.category), **value(measure, amount)}


def medication_request(patient: Person, index: int) -> Resource:
    """The MedicationRequest of one prescription."""
    prescription = patient.prescriptions[index]
    medicine = prescription.medicine
    dosage: Resource = {"text": medicine.text, "asNeededBoolean": medicine.per_day is None}
    if medicine.per_day:
        dosage["timing"] = {"repeat": {"frequency": medicine.per_day, "period": 1, "periodUnit": "d"}}
    dosage["route"] = concept(medicine.route)
    return {
        "resourceType": "MedicationRequest",
        "id": f"{patient_id(patient)}-rx-{index + 1:03}",
        "status": "active" if prescription.active else "completed",
        "intent": "order",
        "medicationCodeableConcept": concept(medicine.code),
        "subject": subject(patient),
        "encounter": {"reference": f"Encounter/{encounter_id(patient, prescription.visit)}"},
        "authoredOn": instant(patient.visits[prescription.visit], 25),
        "reasonReference": [{"reference": f"Condition/{condition_id(patient, prescription.illness)}"}],
        "dosageInstruction": [dosage],
    }


def value(measure: Measure, amount: float) -> Resource:
    """A quantity with its reference range and what the range says of it."""
    members: Resource = {"valueQuantity": quantity(measure, amount)}
    if sign := flag(measure, amount):
        text = {"L": "Low", "H": "High", "N": "Normal"}[sign]
        members["interpretation"] = [concept(Code(HL7 + "v3-ObservationInterpretation", sign, text))]
        ends = {"low": measure.low, "high": measure.high}
        members["referenceRange"] = [{name: quantity(measure, end) for name, end in ends.items() if end is not None}]
    return members


def flag(measure: Measure, amount: float) -> str:
    """L, H or N by the reference range; empty where there is none."""
    if measure.low is None and measure.high is None:
        return ""
    if measure.low is not None and amount < measure.low:
        return "L"
    return "H" if measure.high is not None and amount > measure.high else "N"


def quantity(measure: Measure, amount: float) -> Resource:
    """An amount with its unit, printed and in UCUM."""
    number = round(amount, measure.decimals) if measure.decimals else round(amount)
    return {"value": number, "unit": measure.unit, "system": UCUM, "code": measure.ucum}


def concept(code: Code) -> Resource:
    """A CodeableConcept of one code."""
    return {"coding": [{"system": code.system, "code": code.code, "display": code.display}], "text": plain(code)}


def plain(code: Code) -> str:
    """The display name without the semantic tag that SNOMED CT puts behind it."""
    return code.display.rsplit(" (", 1)[0] if code.system == codes.SNOMED else code.display


def instant(visit: Visit, after_minutes: int = 0) -> str:
    """The moment that many minutes after a visit began, with its time zone."""
    begin = datetime(visit.day.year, visit.day.month, visit.day.day, tzinfo=ZONE)
    return (begin + timedelta(minutes=visit.minute + after_minutes)).isoformat()


def subject(patient: Person) -> Resource:
    """The reference to the patient."""
    return {"reference": f"Patient/{patient_id(patient)}"}


def patient_id(patient: Person) -> str:
    """The Patient's id."""
    return f"patient-{patient.number:06}"


def encounter_id(patient: Person, index: int) -> str:
    """The Encounter's id."""
    return f"{patient_id(patient)}-visit-{index + 1:02}"


def condition_id(patient: Person, index: int) -> str:
    """The Condition's id."""
    return f"{patient_id(patient)}-cond-{index + 1:02}"
