"""The codes of the demonstration data, each with the system it belongs to.

Source: docs/reference/demo-data-codes.md lists every code with its system, its official name and where that is
published. A test compares that page with this file, so a code cannot be added here without its source there.
"""

from __future__ import annotations

from dataclasses import dataclass

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem/"


@dataclass(frozen=True, slots=True)
class Code:
    """A concept of a published code system, with its display name there."""

    system: str
    code: str
    display: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement: its LOINC code, unit (printed and UCUM), decimals, adult reference range and category."""

    code: Code
    unit: str
    ucum: str
    decimals: int
    low: float | None = None
    high: float | None = None
    category: str = "laboratory"  # of HL7 observation-category


# Conditions (SNOMED CT, disorders).
DIABETES = Code(SNOMED, "44054006", "Diabetes mellitus type 2 (disorder)")
HYPERTENSION = Code(SNOMED, "59621000", "Essential hypertension (disorder)")
HYPERLIPIDEMIA = Code(SNOMED, "55822004", "Hyperlipidemia (disorder)")
ASTHMA = Code(SNOMED, "195967001", "Asthma (disorder)")
ANEMIA = Code(SNOMED, "271737000", "Anemia (disorder)")
KIDNEY_DISEASE = Code(SNOMED, "433144002", "Chronic kidney disease stage 3 (disorder)")

# Encounters and findings (SNOMED CT).
CHECK_UP = Code(SNOMED, "185349003", "Encounter for check up (procedure)")
FOLLOW_UP = Code(SNOMED, "390906007", "Follow-up encounter (procedure)")
NEVER_SMOKED = Code(SNOMED, "266919005", "Never smoked tobacco (finding)")
EX_SMOKER = Code(SNOMED, "8517006", "Ex-smoker (finding)")
SMOKES_DAILY = Code(SNOMED, "449868002", "Smokes tobacco daily (finding)")
ORAL = Code(SNOMED, "26643006", "Oral route (qualifier value)")
INHALED = Code(SNOMED, "447694001", "Respiratory tract route (qualifier value)")

# Medicines (RxNorm, clinical drugs), one for each condition that gets one here.
METFORMIN = Code(RXNORM, "861007", "metformin hydrochloride 500 MG Oral Tablet")
LISINOPRIL = Code(RXNORM, "314076", "lisinopril 10 MG Oral Tablet")
SIMVASTATIN = Code(RXNORM, "314231", "simvastatin 10 MG Oral Tablet")
ALBUTEROL = Code(RXNORM, "745679", "200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler")
FERROUS_SULFATE = Code(RXNORM, "310325", "ferrous sulfate 325 MG Oral Tablet")

# Observations (LOINC). Reference ranges are the usual adult ones; haemoglobin's depends on sex (see people.py).
BLOOD_PRESSURE = Code(LOINC, "85354-9", "Blood pressure panel with all children optional")
SMOKING = Code(LOINC, "72166-2", "Tobacco smoking status")
HEIGHT = Measure(Code(LOINC, "8302-2", "Body height"), "cm", "cm", 1, category="vital-signs")
WEIGHT = Measure(Code(LOINC, "29463-7", "Body weight"), "kg", "kg", 1, category="vital-signs")
BMI = Measure(Code(LOINC, "39156-5", "Body mass index (BMI) [Ratio]"), "kg/m2", "kg/m2", 1, category="vital-signs")
HEART_RATE = Measure(Code(LOINC, "8867-4", "Heart rate"), "beats/minute", "/min", 0, 60, 100, "vital-signs")
SYSTOLIC = Measure(Code(LOINC, "8480-6", "Systolic blood pressure"), "mmHg", "mm[Hg]", 0, 90, 130, "vital-signs")
DIASTOLIC = Measure(Code(LOINC, "8462-4", "Diastolic blood pressure"), "mmHg", "mm[Hg]", 0, 60, 85, "vital-signs")
FEV1_FVC = Measure(Code(LOINC, "19926-5", "FEV1/FVC"), "%", "%", 0, 70, None, "procedure")
HBA1C = Measure(Code(LOINC, "4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"), "%", "%", 1, 4.0, 5.6)
GLUCOSE = Measure(
    Code(LOINC, "1558-6", "Fasting glucose [Mass/volume] in Serum or Plasma"), "mg/dL", "mg/dL", 0, 70, 99
)
CREATININE = Measure(
    Code(LOINC, "2160-0", "Creatinine [Mass/volume] in Serum or Plasma"), "mg/dL", "mg/dL", 2, 0.5, 1.2
)
EGFR = Measure(
    Code(
        LOINC,
        "98979-8",
        "Glomerular filtration rate/1.73 sq M.predicted [Volume Rate/Area] in Serum, Plasma or Blood "
        "by Creatinine-based formula (CKD-EPI 2021)",
    ),
    "mL/min/1.73m2",
    "mL/min/{1.73_m2}",
    0,
    60,
    None,
)
TOTAL_CHOLESTEROL = Measure(
    Code(LOINC, "2093-3", "Cholesterol [Mass/volume] in Serum or Plasma"), "mg/dL", "mg/dL", 0, None, 200
)
LDL = Measure(
    Code(LOINC, "13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation"),
    "mg/dL",
    "mg/dL",
    0,
    None,
    130,
)
HDL = Measure(
    Code(LOINC, "2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"), "mg/dL", "mg/dL", 0, 40, None
)
TRIGLYCERIDES = Measure(
    Code(LOINC, "2571-8", "Triglyceride [Mass/volume] in Serum or Plasma"), "mg/dL", "mg/dL", 0, None, 150
)
HEMOGLOBIN = Measure(Code(LOINC, "718-7", "Hemoglobin [Mass/volume] in Blood"), "g/dL", "g/dL", 1, 12.0, 17.5)
