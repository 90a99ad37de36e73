"""Lives of synthetic patients: who they are, when they fall ill, what is measured at each visit, what they take.

Pure: a patient is a function of (seed, number). Nothing here knows FHIR; records.py writes it down.
Promises (each has a test): an onset is after birth, at a plausible age, and not after its diagnosis; a medicine
begins at the diagnosis or later; from the onset on the measured values show the illness, before it they do not;
derived values (BMI, LDL, eGFR) follow from the measured ones by the published formula; nothing is after TODAY.
Does not promise: a realistic population; the frequencies are plausible, not fitted to any.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeVar

from asset_bridge.client.demo_data import codes
from asset_bridge.client.demo_data.codes import Code, Measure

T = TypeVar("T")

# The data ends here, on whatever day it is made: the same seed gives the same bytes for ever.
TODAY = date(2026, 1, 1)
HISTORY_YEARS = 8

FEMALE = ("Ada", "Clara", "Elif", "Fatima", "Greta", "Hana", "Ines", "Lucia", "Mei", "Nadia", "Olga", "Priya", "Sofia")
MALE = ("Ali", "Bruno", "Carlos", "David", "Emil", "Felix", "Hugo", "Ivan", "Kofi", "Luca", "Omar", "Ravi", "Tomas")
FAMILY = (
    "Almeida", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Horvat", "Ivanova", "Jansen", "Kaya",
    "Larsen", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Silva", "Tanaka", "Weber", "Yilmaz", "Zhang",
)  # fmt: skip
CITIES = (("Graz", "AT"), ("Lyon", "FR"), ("Porto", "PT"), ("Utrecht", "NL"), ("Bologna", "IT"), ("Aarhus", "DK"))


@dataclass(frozen=True, slots=True)
class Medicine:
    """What is prescribed for a condition, and how it is taken."""

    code: Code
    text: str
    route: Code
    per_day: int | None  # None: as needed


MEDICINES = {
    codes.DIABETES: Medicine(codes.METFORMIN, "1 tablet twice daily with meals", codes.ORAL, 2),
    codes.HYPERTENSION: Medicine(codes.LISINOPRIL, "1 tablet once daily", codes.ORAL, 1),
    codes.HYPERLIPIDEMIA: Medicine(codes.SIMVASTATIN, "1 tablet every evening", codes.ORAL, 1),
    codes.ASTHMA: Medicine(codes.ALBUTEROL, "2 puffs as needed for wheezing", codes.INHALED, None),
    codes.ANEMIA: Medicine(codes.FERROUS_SULFATE, "1 tablet once daily", codes.ORAL, 1),
}


@dataclass(frozen=True, slots=True)
class Illness:
    """A condition with its onset and the visit (by index) at which it was recorded."""

    code: Code
    onset: date
    visit: int


@dataclass(frozen=True, slots=True)
class Visit:
    """One encounter: its day, minute of the day, reason, and what was measured."""

    day: date
    minute: int
    reason: Code
    values: dict[Measure, float]


@dataclass(frozen=True, slots=True)
class Prescription:
    """A medicine prescribed at a visit (by index) for an illness (by index); only the last of each is active."""

    illness: int
    visit: int
    medicine: Medicine
    active: bool


@dataclass(frozen=True, slots=True)
class Person:
    """A synthetic patient, whole."""

    number: int
    female: bool
    given: str
    family: str
    birth: date
    city: str
    country: str
    smoking: Code
    height_cm: float
    illnesses: list[Illness] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    prescriptions: list[Prescription] = field(default_factory=list)

    def age_on(self, day: date) -> int:
        """Whole years lived on `day`."""
        return day.year - self.birth.year - ((day.month, day.day) < (self.birth.month, self.birth.day))

    def has(self, code: Code, day: date) -> bool:
        """Whether the illness had begun by `day`."""
        return any(illness.code == code and illness.onset <= day for illness in self.illnesses)


class Dice:
    """Random draws whose results do not change between Python versions (only `random()` promises that)."""

    def __init__(self, seed: int, number: int) -> None:
        self._random = random.Random(f"asset-bridge demo data {seed} {number}").random

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self._random()

    def around(self, middle: float, spread: float) -> float:
        """Bell-shaped around `middle`, never further away than twice `spread`."""
        return middle + spread * (self._random() + self._random() + self._random() + self._random() - 2)

    def whole(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + int((high - low + 1) * self._random())

    def pick(self, choices: tuple[T, ...]) -> T:
        """One of the choices."""
        return choices[int(len(choices) * self._random())]


# Illness → (youngest age at onset, chance to have had it by old age); kidney disease comes after another illness.
RISKS = {
    codes.HYPERTENSION: (30, 0.45),
    codes.HYPERLIPIDEMIA: (30, 0.40),
    codes.DIABETES: (30, 0.22),
    codes.ASTHMA: (5, 0.12),
    codes.ANEMIA: (18, 0.10),
}
KIDNEY_DISEASE_AFTER = (codes.DIABETES, codes.HYPERTENSION)


def people(seed: int, count: int) -> Iterator[Person]:
    """The first `count` patients of this seed; patient n is the same whatever the count."""
    return (person(seed, number) for number in range(1, count + 1))


def person(seed: int, number: int) -> Person:
    """One life, from birth to TODAY."""
    dice = Dice(seed, number)
    female = dice.chance(0.51)
    city, country = dice.pick(CITIES)
    patient = Person(
        number=number,
        female=female,
        given=dice.pick(FEMALE if female else MALE),
        family=dice.pick(FAMILY),
        birth=TODAY - timedelta(days=dice.whole(21 * 366, 90 * 365)),
        city=city,
        country=country,
        smoking=dice.pick((codes.NEVER_SMOKED, codes.NEVER_SMOKED, codes.EX_SMOKER, codes.SMOKES_DAILY)),
        height_cm=round(dice.around(164 if female else 177, 8), 1),
    )
    first = max(birthday(patient.birth, 18), date(TODAY.year - HISTORY_YEARS, 1, 1))
    check_ups = days_between(dice, first + timedelta(days=dice.whole(0, 60)), 365)
    onsets = illnesses(dice, patient.birth, check_ups[-1])
    days = dict.fromkeys(check_ups, codes.CHECK_UP)
    if onsets:
        ill_from = next(day for day in check_ups if day >= min(onsets.values()))
        for day in days_between(dice, ill_from + timedelta(days=dice.whole(100, 140)), 125):
            days.setdefault(day, codes.FOLLOW_UP)
    ordered = sorted(days)
    for code, onset in onsets.items():
        seen = next(index for index, day in enumerate(ordered) if day >= onset)
        patient.illnesses.append(Illness(code, onset, seen))
    weight_kg = dice.around(27 if codes.DIABETES in onsets else 24, 4) * (patient.height_cm / 100) ** 2
    for index, day in enumerate(ordered):
        weight_kg *= dice.between(0.985, 1.015)
        values = measure(dice, patient, index, day, days[day], weight_kg)
        patient.visits.append(Visit(day, dice.whole(8 * 60, 16 * 60), days[day], values))
    patient.prescriptions.extend(prescriptions(patient))
    return patient


def birthday(birth: date, age: int) -> date:
    """The day on which someone reaches `age`; 29 February counts as 1 March."""
    try:
        return birth.replace(year=birth.year + age)
    except ValueError:
        return date(birth.year + age, 3, 1)


def days_between(dice: Dice, first: date, every_days: int) -> list[date]:
    """Days from `first` to before TODAY, roughly `every_days` apart."""
    days = []
    day = first
    while day < TODAY:
        days.append(day)
        day += timedelta(days=every_days + dice.whole(-20, 20))
    return days


def illnesses(dice: Dice, birth: date, last: date) -> dict[Code, date]:
    """Onset of each illness that begins by `last`, in order of onset."""
    onsets: dict[Code, date] = {}
    for code, (youngest, chance) in RISKS.items():
        earliest = birthday(birth, youngest)
        onset = earliest + timedelta(days=dice.whole(0, 45 * 365))
        if dice.chance(chance) and onset <= last:
            onsets[code] = onset
    before = [onsets[code] for code in KIDNEY_DISEASE_AFTER if code in onsets]
    if before and dice.chance(0.25):
        onset = max(min(before), birthday(birth, 45)) + timedelta(days=dice.whole(365, 5 * 365))
        if onset <= last:
            onsets[codes.KIDNEY_DISEASE] = onset
    return dict(sorted(onsets.items(), key=lambda item: item[1]))


def measure(dice: Dice, patient: Person, index: int, day: date, reason: Code, weight_kg: float) -> dict[Measure, float]:
    """What is measured at one visit: everything at a check-up, at a follow-up what the illnesses call for."""
    full = reason == codes.CHECK_UP
    values: dict[Measure, float] = {}
    if index == 0:
        values[codes.HEIGHT] = patient.height_cm
    values[codes.WEIGHT] = round(weight_kg, 1)
    values[codes.BMI] = round(values[codes.WEIGHT] / (patient.height_cm / 100) ** 2, 1)
    values[codes.HEART_RATE] = dice.whole(58, 96)
    raised = patient.has(codes.HYPERTENSION, day)
    values[codes.SYSTOLIC] = dice.whole(134, 168) if raised else dice.whole(102, 129)
    values[codes.DIASTOLIC] = dice.whole(82, 98) if raised else dice.whole(62, 82)
    if patient.has(codes.ASTHMA, day):
        values[codes.FEV1_FVC] = dice.whole(55, 69)
    if full or patient.has(codes.DIABETES, day):
        values.update(sugar(dice, patient.has(codes.DIABETES, day)))
    if full or patient.has(codes.KIDNEY_DISEASE, day):
        values.update(kidney(dice, patient, day))
    if full or patient.has(codes.HYPERLIPIDEMIA, day):
        values.update(lipids(dice, patient.has(codes.HYPERLIPIDEMIA, day)))
    if full or patient.has(codes.ANEMIA, day):
        lowest = 12.0 if patient.female else 13.5
        low = patient.has(codes.ANEMIA, day)
        values[codes.HEMOGLOBIN] = (
            round(lowest - dice.between(0.3, 3.5), 1) if low else round(lowest + dice.between(0.2, 3.4), 1)
        )
    return values


def sugar(dice: Dice, diabetic: bool) -> dict[Measure, float]:
    """HbA1c, and a fasting glucose near the average that this HbA1c stands for (28.7 × HbA1c - 46.7 mg/dL)."""
    hba1c = round(dice.between(6.5, 9.4) if diabetic else dice.between(4.6, 5.6), 1)
    if diabetic:
        return {codes.HBA1C: hba1c, codes.GLUCOSE: round(max(126, 28.7 * hba1c - 46.7 - dice.between(5, 30)))}
    return {codes.HBA1C: hba1c, codes.GLUCOSE: round(min(99, max(72, 28.7 * hba1c - 46.7 - dice.between(5, 15))))}


def kidney(dice: Dice, patient: Person, day: date) -> dict[Measure, float]:
    """Creatinine and the eGFR that follows from it; stage 3 means an eGFR of 30 to 59."""
    age = patient.age_on(day)
    knee = 0.7 if patient.female else 0.9
    if patient.has(codes.KIDNEY_DISEASE, day):
        at_knee = 142 * 0.9938**age * (1.012 if patient.female else 1)
        creatinine = round(knee * (at_knee / dice.between(33, 56)) ** (1 / 1.2), 2)
    else:
        creatinine = round(knee * dice.between(0.78, 1.0), 2)
    return {codes.CREATININE: creatinine, codes.EGFR: egfr(creatinine, age, patient.female)}


def egfr(creatinine_mg_per_dl: float, age: int, female: bool) -> float:
    """CKD-EPI 2021, without race: estimated glomerular filtration rate in mL/min/1.73 m², rounded to whole units."""
    knee, slope = (0.7, -0.241) if female else (0.9, -0.302)
    ratio = creatinine_mg_per_dl / knee
    rate: float = 142 * min(ratio, 1) ** slope * max(ratio, 1) ** -1.2 * 0.9938**age
    return round(rate * (1.012 if female else 1))


def lipids(dice: Dice, raised: bool) -> dict[Measure, float]:
    """The lipid panel; LDL is calculated (Friedewald: total - HDL - triglycerides / 5)."""
    hdl, triglycerides = dice.whole(40, 75), dice.whole(60, 149)
    wanted = dice.whole(160, 215) if raised else dice.whole(70, 129)
    total = round(wanted + hdl + triglycerides / 5)
    return {
        codes.TOTAL_CHOLESTEROL: total,
        codes.HDL: hdl,
        codes.TRIGLYCERIDES: triglycerides,
        codes.LDL: round(total - hdl - triglycerides / 5),
    }


def prescriptions(patient: Person) -> Iterator[Prescription]:
    """For each treated illness one prescription at the diagnosis and one at every check-up after it."""
    for number, illness in enumerate(patient.illnesses):
        medicine = MEDICINES.get(illness.code)
        if medicine is None:
            continue
        visits = [
            index
            for index, visit in enumerate(patient.visits)
            if index == illness.visit or (index > illness.visit and visit.reason == codes.CHECK_UP)
        ]
        for index in visits:
            yield Prescription(number, index, medicine, active=index == visits[-1])
