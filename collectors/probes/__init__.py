"""The half that runs inside the patient: standard library and the patient's own packages only."""
