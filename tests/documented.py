"""The documented request and answers, word for word as users were told them."""

FULL_BODY = """{
    "features": {
      "race": "Caucasian",
      "gender": "Female",
      "age": "[70-80)",
      "weight": "?",
      "admission_type_id": 1,
      "discharge_disposition_id": 1,
      "admission_source_id": 7,
      "time_in_hospital": 1,
      "payer_code": "?",
      "medical_specialty": "Emergency/Trauma",
      "num_lab_procedures": 41,
      "num_procedures": 0,
      "num_medications": 1,
      "number_outpatient": 0,
      "number_emergency": 0,
      "number_inpatient": 0,
      "diag_1": "250.83",
      "diag_2": "?",
      "diag_3": "?",
      "number_diagnoses": 1,
      "max_glu_serum": "None",
      "A1Cresult": "None",
      "metformin": "No",
      "repaglinide": "No",
      "nateglinide": "No",
      "chlorpropamide": "No",
      "glimepiride": "No",
      "acetohexamide": "No",
      "glipizide": "No",
      "glyburide": "No",
      "tolbutamide": "No",
      "pioglitazone": "No",
      "rosiglitazone": "No",
      "acarbose": "No",
      "miglitol": "No",
      "troglitazone": "No",
      "tolazamide": "No",
      "examide": "No",
      "citoglipton": "No",
      "insulin": "No",
      "glyburide-metformin": "No",
      "glipizide-metformin": "No",
      "glimepiride-pioglitazone": "No",
      "metformin-rosiglitazone": "No",
      "metformin-pioglitazone": "No",
      "change": "No",
      "diabetesMed": "No"
    }
  }"""

PARTIAL_BODY = """{
    "features": {
        "race": "Caucasian",
        "gender": "Female",
        "age": "[70-80)",
        "admission_type_id": 1,
        "discharge_disposition_id": 1,
        "time_in_hospital": 1,
        "num_lab_procedures": 41,
        "num_medications": 1
    }
}"""

HEALTH = b'{"status":"ok","model":"diabetes_readmission_model"}'
