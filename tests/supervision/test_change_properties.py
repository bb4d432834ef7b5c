"""What holds for every fleet that changes, whatever is changed, and whatever happens meanwhile.

The promises are where they are checked: `changing_fleet.py` has those about a change and its
outcome, `changing_world.py` those about each command and each moment.
"""

from __future__ import annotations

import os

from hypothesis import settings

from changing_fleet import ChangingFleet

PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
TestChangingFleet = ChangingFleet.TestCase
TestChangingFleet.settings = settings(
    PROFILE, max_examples=PROFILE.max_examples // 2, stateful_step_count=40
)
