"""How hard the properties are tried: `HYPOTHESIS_PROFILE=deep` for a long run, else a quick one."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# A fleet is a large thing to draw; on a busy machine that is slow, and no defect.
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("fast", PATIENT, max_examples=60, stateful_step_count=60)
settings.register_profile("deep", PATIENT, max_examples=2_000, stateful_step_count=120)
if "HYPOTHESIS_PROFILE" in os.environ:
    settings.load_profile(os.environ["HYPOTHESIS_PROFILE"])
